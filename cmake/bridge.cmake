# The crates behind bridge/roofline_bridge.h, as one static library that cargo
# builds from its lock file.
set(_bridge_dir ${CMAKE_SOURCE_DIR}/bridge)
set(_bridge_target ${CMAKE_SOURCE_DIR}/build/cargo)
find_program(PROTOC protoc REQUIRED) # tboard's build generates from .proto files
set(_bridge_env CARGO_TARGET_DIR=${_bridge_target} PROTOC=${PROTOC})
set(_bridge_flags --release --locked --quiet)
if(ROOFLINE_RUST_TARGET)
  # A cross build: cargo's own target, and the C parts of crates with our
  # compiler.
  string(REPLACE "-" "_" _rust_name ${ROOFLINE_RUST_TARGET})
  list(APPEND _bridge_env CC_${_rust_name}=${CMAKE_C_COMPILER})
  list(APPEND _bridge_flags --target ${ROOFLINE_RUST_TARGET})
  set(_bridge_out ${_bridge_target}/${ROOFLINE_RUST_TARGET})
else()
  set(_bridge_out ${_bridge_target})
endif()
set(_bridge_lib ${_bridge_out}/release/libroofline_bridge.a)
file(GLOB_RECURSE _bridge_sources CONFIGURE_DEPENDS ${_bridge_dir}/src/*.rs)
find_program(CARGO cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
add_custom_command(
  OUTPUT ${_bridge_lib}
  COMMAND ${CMAKE_COMMAND} -E env ${_bridge_env}
          ${CARGO} build ${_bridge_flags}
  WORKING_DIRECTORY ${_bridge_dir}
  DEPENDS ${_bridge_sources} ${_bridge_dir}/Cargo.toml ${_bridge_dir}/Cargo.lock
  COMMENT "Building the crates of bridge/ with cargo"
  USES_TERMINAL)
add_custom_target(roofline_bridge_build DEPENDS ${_bridge_lib})
add_library(roofline_bridge INTERFACE)
add_dependencies(roofline_bridge roofline_bridge_build)
target_include_directories(roofline_bridge INTERFACE ${_bridge_dir})
target_link_libraries(roofline_bridge INTERFACE ${_bridge_lib}
                      Threads::Threads ${CMAKE_DL_LIBS} m)
