# Warnings, sanitizers and the link-time switches shared by every target.
add_library(roofline_options INTERFACE)
target_compile_options(roofline_options INTERFACE -Wall -Wextra -Wpedantic)
if(ROOFLINE_WERROR)
  target_compile_options(roofline_options INTERFACE -Werror)
endif()
if(ROOFLINE_SANITIZE)
  add_compile_options(-fsanitize=${ROOFLINE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ROOFLINE_SANITIZE})
  # Under a sanitizer GCC takes the empty value of an optional for one that is
  # read; its manual warns of such false alarms.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-error=maybe-uninitialized)
  endif()
endif()
find_program(ROOFLINE_CCACHE ccache)
if(ROOFLINE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ROOFLINE_CCACHE})
endif()
