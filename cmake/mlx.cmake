# Finds MLX inside its published wheel, below ROOFLINE_MLX_WHEEL. No Python is
# run: the wheel carries headers, a library and CMake files.
file(GLOB_RECURSE _mlx_config FOLLOW_SYMLINKS
     "${ROOFLINE_MLX_WHEEL}/*/MLXConfig.cmake")
if(NOT _mlx_config)
  message(FATAL_ERROR
    "No MLX wheel below ${ROOFLINE_MLX_WHEEL}. Run `make setup`, or point "
    "ROOFLINE_MLX_WHEEL at a folder that holds one.")
endif()
list(GET _mlx_config 0 _mlx_config)
get_filename_component(MLX_DIR "${_mlx_config}" DIRECTORY)
find_package(MLX CONFIG REQUIRED)
# MLX's headers are not ours to warn about.
get_target_property(_mlx_includes mlx INTERFACE_INCLUDE_DIRECTORIES)
if(_mlx_includes)
  set_target_properties(mlx PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${_mlx_includes}")
endif()
target_include_directories(mlx SYSTEM INTERFACE "${MLX_INCLUDE_DIRS}")
# DT_RUNPATH rather than DT_RPATH: LD_LIBRARY_PATH can point the same binary at
# another backend's libmlx.
if(NOT APPLE)
  add_link_options(-Wl,--enable-new-dtags)
endif()
