# The text crates behind bridge/roofline_bridge.h, as one static library that
# cargo builds from its lock file.
set(_bridge_dir ${CMAKE_SOURCE_DIR}/bridge)
set(_bridge_target ${CMAKE_SOURCE_DIR}/build/cargo)
set(_bridge_lib ${_bridge_target}/release/libroofline_bridge.a)
file(GLOB_RECURSE _bridge_sources CONFIGURE_DEPENDS ${_bridge_dir}/src/*.rs)
find_program(CARGO cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
add_custom_command(
  OUTPUT ${_bridge_lib}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${_bridge_target}
          ${CARGO} build --release --locked --quiet
  WORKING_DIRECTORY ${_bridge_dir}
  DEPENDS ${_bridge_sources} ${_bridge_dir}/Cargo.toml ${_bridge_dir}/Cargo.lock
  COMMENT "Building the text crates with cargo"
  USES_TERMINAL)
add_custom_target(roofline_bridge_build DEPENDS ${_bridge_lib})
add_library(roofline_bridge INTERFACE)
add_dependencies(roofline_bridge roofline_bridge_build)
target_include_directories(roofline_bridge INTERFACE ${_bridge_dir})
target_link_libraries(roofline_bridge INTERFACE ${_bridge_lib}
                      Threads::Threads ${CMAKE_DL_LIBS} m)
