# Finds the LibTorch of a Python wheel (or an unpacked one) without importing it and without
# TorchConfig, which would need nvcc for CPU code and rewrite the CUDA flags of the whole project.
#
# Looked for, in this order: LIBTORCH_ROOT (variable or environment), .deps/python of this project
# (made by tools/setup.sh), the active virtual environment, .venv, the interpreter's own packages.
# Makes LibTorch::c10, LibTorch::cpu and, where the wheel has CUDA and CUDA::cudart exists,
# LibTorch::cuda.
# LibTorch_RPATH is where its run-time companions lie.
set(_hints ${LIBTORCH_ROOT} $ENV{LIBTORCH_ROOT} ${PROJECT_SOURCE_DIR}/.deps/python/torch)
foreach(_env $ENV{VIRTUAL_ENV} ${PROJECT_SOURCE_DIR}/.venv)
  file(GLOB _found ${_env}/lib/python3*/site-packages/torch)
  list(APPEND _hints ${_found})
endforeach()
find_package(Python3 COMPONENTS Interpreter QUIET)
list(APPEND _hints ${Python3_SITELIB}/torch)
if(LIBTORCH_DIR AND NOT EXISTS ${LIBTORCH_DIR}/include/torch/headeronly/version.h)
  unset(LIBTORCH_DIR CACHE)  # moved since the last time
endif()
find_path(LIBTORCH_DIR include/torch/headeronly/version.h HINTS ${_hints} NO_DEFAULT_PATH)

if(LIBTORCH_DIR)
  file(STRINGS ${LIBTORCH_DIR}/include/torch/headeronly/version.h _lines
    REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3"
    LibTorch_VERSION "${_lines}")
endif()
include(FindPackageHandleStandardArgs)
set(_remedy "run tools/setup.sh, or set LIBTORCH_ROOT to the folder 'torch' of torch==2.11.0")
find_package_handle_standard_args(LibTorch REQUIRED_VARS LIBTORCH_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "${_remedy}")

function(_libtorch name file)  # further arguments: what it links
  add_library(LibTorch::${name} SHARED IMPORTED GLOBAL)
  set_target_properties(LibTorch::${name} PROPERTIES IMPORTED_LOCATION ${LIBTORCH_DIR}/lib/${file})
  target_link_libraries(LibTorch::${name} INTERFACE ${ARGN})
endfunction()
if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  _libtorch(c10 libc10.so)
  # The wheel has the headers of a newer fmt without its library: the one that is linked goes first.
  find_package(fmt QUIET)
  set(_first ${CMAKE_BINARY_DIR}/before_libtorch)
  if(TARGET fmt::fmt)
    get_target_property(_fmt fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
    find_path(_fmt_include fmt/core.h HINTS ${_fmt} NO_CACHE REQUIRED)
    file(MAKE_DIRECTORY ${_first})
    file(CREATE_LINK ${_fmt_include}/fmt ${_first}/fmt SYMBOLIC)
    target_include_directories(LibTorch::c10 SYSTEM INTERFACE ${_first})
  endif()
  target_include_directories(LibTorch::c10 SYSTEM INTERFACE
    ${LIBTORCH_DIR}/include ${LIBTORCH_DIR}/include/torch/csrc/api/include)
  _libtorch(cpu libtorch_cpu.so LibTorch::c10)
  target_compile_definitions(LibTorch::cpu INTERFACE AT_PER_OPERATOR_HEADERS)
  if(EXISTS ${LIBTORCH_DIR}/lib/libtorch_cuda.so AND TARGET CUDA::cudart)
    _libtorch(c10_cuda libc10_cuda.so LibTorch::c10 CUDA::cudart)
    _libtorch(cuda libtorch_cuda.so LibTorch::cpu LibTorch::c10_cuda)
    target_link_options(LibTorch::cuda INTERFACE LINKER:--no-as-needed)  # it only registers kernels
  endif()
  get_filename_component(LibTorch_RPATH ${LIBTORCH_DIR}/../nvidia/cu13/lib ABSOLUTE)
endif()
