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

if(PRAXINO_PCH)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/pch.cpp CONTENT "")
  add_library(praxino_pch STATIC ${PROJECT_BINARY_DIR}/pch.cpp)
  target_link_libraries(praxino_pch PRIVATE LibTorch::cpu praxino_options)
  target_precompile_headers(praxino_pch PRIVATE
    <ATen/core/Tensor.h> <ATen/TensorOperators.h> <c10/util/Exception.h>
    <algorithm> <cmath> <cstdint> <filesystem> <map> <memory> <optional> <span> <string>
    <string_view> <utility> <vector>)
endif()
