# Benches, built only when asked for by name: `ninja kernels_bench`.
function(roofline_bench name)
  cmake_parse_arguments(arg "" "" "DEPENDS;SOURCES" ${ARGN})
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/bench/${name}.cpp)
    return()
  endif()
  add_executable(${name} EXCLUDE_FROM_ALL bench/${name}.cpp ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} roofline_options)
endfunction()

roofline_bench(step_bench DEPENDS roofline_decode)
roofline_bench(kv_step_bench DEPENDS roofline_model)
file(GLOB _kernel_cases CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/bench/kernel_cases*.cpp)
roofline_bench(kernel_roofs SOURCES ${_kernel_cases} DEPENDS roofline_plan)
find_package(benchmark QUIET)
if(benchmark_FOUND)
  roofline_bench(kernels_bench DEPENDS roofline_kernels benchmark::benchmark)
endif()
