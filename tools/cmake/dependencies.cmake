# Every dependency is looked for quietly; what is missing is told in one message.
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # It refuses to compile at all where it cannot write to its cache, such as in a read-only home.
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/ccache_works.cpp CONTENT "")
  execute_process(COMMAND ${CCACHE} ${CMAKE_CXX_COMPILER} -c ccache_works.cpp -o ccache_works.o
    WORKING_DIRECTORY ${PROJECT_BINARY_DIR} RESULT_VARIABLE ccache_failed OUTPUT_QUIET ERROR_QUIET)
  if(NOT ccache_failed)
    # Without this sloppiness it compiles every file that uses a precompiled header anew.
    set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
endif()

if(PRAXINO_CUDA)
  if(NOT CUDAToolkit_FOUND)
    message(FATAL_ERROR "PRAXINO_CUDA needs the CUDA toolkit 13.0 or newer: install it (and set "
      "CUDAToolkit_ROOT where it is in an unusual place), or build with -DPRAXINO_CUDA=OFF")
  endif()
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE} CACHE FILEPATH "CUDA compiler")
  set(architectures 80-virtual 90)
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 13.4)  # earlier ones do not know Rubin
    list(APPEND architectures 107-real)
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${architectures}" CACHE STRING "")  # before enable_language
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(FFMPEG QUIET IMPORTED_TARGET
    libavformat>=59 libavcodec>=59 libavutil>=57 libswscale>=6)
  pkg_check_modules(XXHASH QUIET IMPORTED_TARGET libxxhash)
endif()
find_package(yaml-cpp QUIET)
find_package(fmt QUIET)
find_package(spdlog QUIET)
find_package(CLI11 QUIET)
find_package(nlohmann_json QUIET)
if(PRAXINO_TESTS)
  find_package(GTest QUIET)
  find_package(Boost QUIET COMPONENTS context)
  include(GoogleTest)
else()
  set(GTest_FOUND TRUE)
  set(Boost_FOUND TRUE)
endif()
praxino_require(
  "PkgConfig_FOUND=pkg-config=pkg-config"
  "FFMPEG_FOUND=FFmpeg 5.1 or newer=libavformat-dev libavcodec-dev libavutil-dev libswscale-dev"
  "XXHASH_FOUND=xxHash=libxxhash-dev"
  "yaml-cpp_FOUND=yaml-cpp=libyaml-cpp-dev"
  "fmt_FOUND=fmt=libfmt-dev"
  "spdlog_FOUND=spdlog=libspdlog-dev"
  "CLI11_FOUND=CLI11=libcli11-dev"
  "nlohmann_json_FOUND=nlohmann-json=nlohmann-json3-dev"
  "GTest_FOUND=GoogleTest=libgtest-dev libgmock-dev"
  "Boost_FOUND=Boost.Context=libboost-context-dev")
find_package(LibTorch 2.11 REQUIRED)
# Our own need for libcudart; the libraries of LibTorch find their companions by themselves.
set(CMAKE_BUILD_RPATH ${LibTorch_RPATH})
set(CMAKE_INSTALL_RPATH ${LibTorch_RPATH} ${LIBTORCH_DIR}/lib)
