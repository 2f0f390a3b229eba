# One static library a layer, one test program a layer. Sources are globbed, so
# that adding a file is all it takes. A file whose name ends in _avx2.cpp,
# _avx512.cpp, _amx.cpp, _neon.cpp or _i8mm.cpp is compiled for that instruction set and
# must be reached only through a run-time choice; everything else stays on the
# processor family's baseline.
set(ROOFLINE_FLAGS_AVX2 -mavx2 -mfma -mf16c -mbmi2)
set(ROOFLINE_FLAGS_AVX512 ${ROOFLINE_FLAGS_AVX2} -mavx512f -mavx512bw
    -mavx512vl -mavx512dq -mavx512vnni -mprefer-vector-width=512)
set(ROOFLINE_FLAGS_AMX ${ROOFLINE_FLAGS_AVX512} -mavx512bf16 -mamx-tile
    -mamx-bf16)
set(ROOFLINE_FLAGS_NEON -march=armv8.2-a+dotprod)
set(ROOFLINE_FLAGS_I8MM -march=armv8.2-a+dotprod+i8mm+bf16)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(ROOFLINE_OWN_ISAS AVX2 AVX512 AMX)
  set(ROOFLINE_OTHER_ISAS "_(neon|i8mm)\\.cpp$")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(ROOFLINE_OWN_ISAS NEON I8MM)
  set(ROOFLINE_OTHER_ISAS "_(avx2|avx512|amx)\\.cpp$")
  # The baseline has fused multiply-adds: where the compiler took them, the
  # references would round in another way than on x86.
  add_compile_options(-ffp-contract=off)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Notes about an interface that changed in GCC 10.
    add_compile_options(-Wno-psabi)
  endif()
else()
  set(ROOFLINE_OWN_ISAS)
  set(ROOFLINE_OTHER_ISAS "_(avx2|avx512|amx|neon|i8mm)\\.cpp$")
endif()

function(roofline_isa_flags)
  foreach(isa ${ROOFLINE_OWN_ISAS})
    set(files ${ARGN})
    string(TOLOWER ${isa} suffix)
    list(FILTER files INCLUDE REGEX "_${suffix}\\.cpp$")
    if(files)
      set_source_files_properties(${files} PROPERTIES
        COMPILE_OPTIONS "${ROOFLINE_FLAGS_${isa}}")
    endif()
  endforeach()
endfunction()

function(roofline_sources out folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
  list(FILTER found EXCLUDE REGEX "${ROOFLINE_OTHER_ISAS}")
  list(FILTER found EXCLUDE REGEX "_bench\\.cpp$")
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# Compiles the target's sources in groups, each as one: half of a source's time
# goes into headers. A source's group follows from its name, so that a new one
# changes no other's; names of a group's sources must not clash, those in unnamed
# namespaces neither. Off (-DROOFLINE_UNITY=OFF, preset "dev") where single
# sources are worked on. scripts/check_clang.sh takes the same groups, and
# scripts/check_includes.py holds each source to its own includes.
function(roofline_unite target)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources count)
  set(groups 1)
  while(count GREATER_EQUAL 14)
    math(EXPR groups "${groups} * 2")
    math(EXPR count "${count} / 2")
  endwhile()
  foreach(source ${sources})
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${source})
    string(MD5 hash ${name})
    string(SUBSTRING ${hash} 0 2 hash)
    math(EXPR group "0x${hash} % ${groups}")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
  endforeach()
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ${ROOFLINE_UNITY} UNITY_BUILD_MODE GROUP)
  if(ROOFLINE_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Takes a class of a source for one of a header.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()

function(roofline_layer name)
  cmake_parse_arguments(arg "SINGLE" "" "DEPENDS" ${ARGN})
  roofline_sources(sources roofline/${name})
  roofline_isa_flags(${sources})
  if(NOT sources)
    add_library(roofline_${name} INTERFACE)
    target_link_libraries(roofline_${name} INTERFACE ${arg_DEPENDS})
    return()
  endif()
  add_library(roofline_${name} STATIC ${sources})
  target_include_directories(roofline_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(roofline_${name} PUBLIC ${arg_DEPENDS}
                        PRIVATE roofline_options)
  if(NOT arg_SINGLE)
    roofline_unite(roofline_${name})
  endif()
endfunction()

function(roofline_program name)
  cmake_parse_arguments(arg "" "" "DEPENDS" ${ARGN})
  roofline_sources(sources roofline/${name})
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(NOT sources)
    return()
  endif()
  add_library(roofline_${name} STATIC ${sources})
  target_include_directories(roofline_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(roofline_${name} PUBLIC ${arg_DEPENDS}
                        PRIVATE roofline_options)
  roofline_unite(roofline_${name})
  add_executable(roofline roofline/${name}/main.cpp)
  target_link_libraries(roofline PRIVATE roofline_${name} roofline_options)
endfunction()

function(roofline_tests layer)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS
       ${CMAKE_SOURCE_DIR}/tests/${layer}/*_test.cpp)
  if(NOT sources OR NOT TARGET roofline_${layer})
    return()
  endif()
  roofline_isa_flags(${sources})
  add_executable(${layer}_tests ${sources})
  target_include_directories(${layer}_tests PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(${layer}_tests PRIVATE
    ROOFLINE_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
    ROOFLINE_GOLDENS="${CMAKE_SOURCE_DIR}/tests/goldens")
  target_link_libraries(${layer}_tests PRIVATE roofline_${layer}
                        GTest::gtest_main roofline_options)
  # Tests spend their time in the library: a third less to compile them.
  target_compile_options(${layer}_tests PRIVATE $<$<CONFIG:Release>:-O1>)
  get_target_property(unity roofline_${layer} UNITY_BUILD)
  if(unity)
    roofline_unite(${layer}_tests)
  endif()
  add_test(NAME ${layer} COMMAND ${layer}_tests)
endfunction()
