# Toolchain file of the preset `aarch64`: Debian's cross compiler, with the
# libraries and the MLX wheel that scripts/aarch64.sh puts under
# build/aarch64-sysroot. Tests run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(_sysroot ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-sysroot)
get_filename_component(_sysroot ${_sysroot} ABSOLUTE)
set(CMAKE_SYSROOT ${_sysroot})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${_sysroot}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${_sysroot})

set(ROOFLINE_MLX_WHEEL ${_sysroot}/mlx CACHE PATH "" FORCE)
set(ROOFLINE_RUST_TARGET aarch64-unknown-linux-gnu)
# ctest starts the tests with it; -cpu max has every instruction set.
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64 -cpu max -L ${_sysroot} -E LD_LIBRARY_PATH=${_sysroot}/usr/lib/aarch64-linux-gnu)
