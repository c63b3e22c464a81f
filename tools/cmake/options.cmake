# What every target of ours is compiled with.
add_library(praxino_options INTERFACE)
target_compile_options(praxino_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
    -fstack-protector-strong -fstack-clash-protection
    # false alarms about operator+ of strings: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105651
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
    # video files are hostile input: a bad index or a full buffer must stop the process
    -D_GLIBCXX_ASSERTIONS -U_FORTIFY_SOURCE $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>>)
target_link_options(praxino_options INTERFACE LINKER:-z,relro,-z,now,-z,noexecstack)
if(PRAXINO_WERROR)
  # GCC 12 raises -Wstringop-overflow for the same operator+: it is shown, and stops nothing.
  target_compile_options(praxino_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror -Wno-error=stringop-overflow>)
endif()
if(PRAXINO_SANITIZE)
  target_compile_options(praxino_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${PRAXINO_SANITIZE} -fno-omit-frame-pointer
      -U_FORTIFY_SOURCE -g1>)
  target_link_options(praxino_options INTERFACE -fsanitize=${PRAXINO_SANITIZE})
endif()
find_program(LLD ld.lld)
if(LLD)
  target_link_options(praxino_options INTERFACE -fuse-ld=lld)
endif()

add_library(praxino_headers INTERFACE)
set_target_properties(praxino_headers PROPERTIES EXPORT_NAME headers)
target_include_directories(praxino_headers INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(praxino_headers INTERFACE cxx_std_20)

# Headers that targets of one kind share, compiled once: praxino_precompile(<name> LINK <libraries>
# OPTIONS <compile options> HEADERS <those beside LibTorch's and the standard library's>) makes
# them; target_precompile_headers(<target> REUSE_FROM <name>) uses them, and wants the same
# options and macros.
function(praxino_precompile name)
  cmake_parse_arguments(P "" "" "LINK;OPTIONS;HEADERS" ${ARGN})
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${name}.cpp CONTENT "")
  add_library(${name} STATIC ${PROJECT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE LibTorch::cpu ${P_LINK} praxino_options)
  target_compile_options(${name} PRIVATE ${P_OPTIONS})
  target_precompile_headers(${name} PRIVATE
    <ATen/core/Tensor.h> <ATen/TensorOperators.h> <c10/util/Exception.h>
    <algorithm> <cmath> <cstdint> <filesystem> <map> <memory> <optional> <span> <string>
    <string_view> <utility> <vector> ${P_HEADERS})
endfunction()

# Tests and the command line call loops, and hold none that count: the compiler takes a third less
# time for them so.
set(PRAXINO_LIGHT_OPTIMIZATION $<$<CONFIG:Release>:-O1>)
if(PRAXINO_PCH)
  praxino_precompile(praxino_pch)
  praxino_precompile(praxino_cli_pch OPTIONS ${PRAXINO_LIGHT_OPTIMIZATION}
    LINK CLI11::CLI11 fmt::fmt HEADERS <CLI/CLI.hpp> <fmt/format.h>)
  if(PRAXINO_TESTS)
    praxino_precompile(praxino_tests_pch OPTIONS ${PRAXINO_LIGHT_OPTIMIZATION}
      LINK GTest::gmock fmt::fmt nlohmann_json::nlohmann_json
      HEADERS <gmock/gmock.h> <gtest/gtest.h> <fmt/format.h> <nlohmann/json.hpp>)
  endif()
endif()
