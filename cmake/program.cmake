# What only the program needs: its version, line editing where libedit is
# there, installation, and the tests that run the built binary.
if(TARGET roofline_cli)
  target_compile_definitions(roofline_cli PRIVATE
    ROOFLINE_VERSION="${PROJECT_VERSION}")
  find_path(LIBEDIT_INCLUDE histedit.h)
  find_library(LIBEDIT_LIBRARY edit)
  if(LIBEDIT_INCLUDE AND LIBEDIT_LIBRARY)
    target_compile_definitions(roofline_cli PRIVATE ROOFLINE_HAVE_LIBEDIT)
    target_include_directories(roofline_cli SYSTEM PRIVATE ${LIBEDIT_INCLUDE})
    target_link_libraries(roofline_cli PRIVATE ${LIBEDIT_LIBRARY})
  else()
    message(STATUS "libedit not found: `roofline chat` has no line editing")
  endif()
  # An installed program still finds the wheel's libmlx.
  set_target_properties(roofline PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS roofline RUNTIME DESTINATION bin)
endif()

# tests/cli/*_test.py run the binary and need nothing but Python's own library;
# tests/scripts/*_test.py test the scripts.
function(roofline_program_tests)
  find_package(Python3 COMPONENTS Interpreter)
  if(NOT Python3_Interpreter_FOUND)
    message(WARNING "No Python: the tests of the program are left out")
    return()
  endif()
  set(folders scripts)
  if(TARGET roofline)
    list(APPEND folders cli)
  endif()
  foreach(folder ${folders})
    file(GLOB files CONFIGURE_DEPENDS
         ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.py)
    foreach(file ${files})
      get_filename_component(name ${file} NAME_WE)
      string(REGEX REPLACE "_test$" "" name ${name})
      add_test(NAME ${folder}_${name}
               COMMAND ${Python3_EXECUTABLE} -B ${file})
      set_tests_properties(${folder}_${name} PROPERTIES
        TIMEOUT 600
        ENVIRONMENT "ROOFLINE_BINARY=${CMAKE_BINARY_DIR}/roofline;\
ROOFLINE_SOURCE=${CMAKE_SOURCE_DIR}")
    endforeach()
  endforeach()
endfunction()
