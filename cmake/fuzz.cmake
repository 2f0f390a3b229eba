# One libFuzzer program for each tests/fuzz/*_fuzz.cpp. The layers and their
# tests are built with coverage and the sanitizers that scripts/fuzz.sh names in
# ROOFLINE_SANITIZE; only these programs get libFuzzer's own main.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR
    "ROOFLINE_FUZZ needs clang. Configure with -DCMAKE_CXX_COMPILER=clang++.")
endif()
file(GLOB _fuzz_sources CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.cpp)
foreach(source ${_fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE roofline_weights roofline_options)
endforeach()
