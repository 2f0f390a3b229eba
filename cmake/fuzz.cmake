# One libFuzzer program for each tests/fuzz/*_fuzz.cpp. Included after the
# layers, which are then built with coverage and sanitizers:
#   cmake -B build/fuzz -DROOFLINE_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++
#   build/fuzz/gguf_fuzz -max_total_time=300 tests/fuzz/corpus/gguf
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR
    "ROOFLINE_FUZZ needs clang. Configure with -DCMAKE_CXX_COMPILER=clang++.")
endif()
set(_fuzz_sanitizers address,undefined)
foreach(layer base text spec weights)
  get_target_property(_type roofline_${layer} TYPE)
  if(NOT _type STREQUAL "INTERFACE_LIBRARY")
    target_compile_options(roofline_${layer} PRIVATE -g
      -fsanitize=fuzzer-no-link,${_fuzz_sanitizers}
      -fno-sanitize-recover=undefined)
  endif()
endforeach()
file(GLOB _fuzz_sources CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.cpp)
foreach(source ${_fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -g
    -fsanitize=fuzzer,${_fuzz_sanitizers} -fno-sanitize-recover=undefined)
  target_link_options(${name} PRIVATE
    -fsanitize=fuzzer,${_fuzz_sanitizers} -fno-sanitize-recover=undefined)
  target_link_libraries(${name} PRIVATE roofline_weights roofline_options)
endforeach()
