# praxino_module(<name> [TORCH] SOURCES <files> [DEPENDS <lower modules>] [LINK <libraries>])
# One static library a module. It can only use what it names here, so the layers hold at link time,
# too. Its public headers, include/praxino/<name>/*.h, are installed with it, and the target
# verify_headers compiles each one alone.
function(praxino_module name)
  cmake_parse_arguments(M "TORCH" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  set(target praxino_${name})
  add_library(${target} STATIC ${M_SOURCES})
  add_library(praxino::${name} ALIAS ${target})
  list(TRANSFORM M_DEPENDS PREPEND praxino::)
  target_link_libraries(${target} PUBLIC praxino_headers ${M_DEPENDS} ${M_LINK})
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:praxino_options>)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  if(M_TORCH)
    target_link_libraries(${target} PUBLIC LibTorch::cpu)
    if(PRAXINO_PCH)
      target_precompile_headers(${target} REUSE_FROM praxino_pch)
    endif()
  endif()
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/praxino/${name}/*.h)
  target_sources(${target} PUBLIC
    FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${headers})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON)
  set_property(GLOBAL APPEND PROPERTY PRAXINO_MODULES ${name})
endfunction()

# praxino_test(<name> [TORCH] SOURCES <files> [DEPENDS <modules>] [LINK <libraries>]
#              [LABELS <labels>] [TIMEOUT <seconds>])
# One GoogleTest binary, <name>_test; every case becomes a CTest test.
function(praxino_test name)
  cmake_parse_arguments(T "TORCH" "TIMEOUT" "SOURCES;DEPENDS;LINK;LABELS" ${ARGN})
  set(target ${name}_test)
  add_executable(${target} ${T_SOURCES})
  list(TRANSFORM T_DEPENDS PREPEND praxino::)
  target_link_libraries(${target} PRIVATE
    ${T_DEPENDS} ${T_LINK} GTest::gmock GTest::gtest_main praxino_options)
  target_include_directories(${target} PRIVATE
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_compile_options(${target} PRIVATE ${PRAXINO_LIGHT_OPTIMIZATION})
  target_compile_definitions(${target} PRIVATE PRAXINO_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    PRAXINO_BINARY="$<TARGET_FILE_DIR:${target}>/praxino")
  if(T_TORCH AND PRAXINO_PCH)
    target_precompile_headers(${target} REUSE_FROM praxino_tests_pch)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 900)  # only a hang takes so long, on whatever machine
  endif()
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 300
    TEST_PREFIX "${name}." PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT}
    ENVIRONMENT "OMP_WAIT_POLICY=passive")  # several tests at once share the cores
endfunction()

# One message that names every missing package and the line that installs them.
function(praxino_require)
  set(missing "")
  set(packages "")
  foreach(pair ${ARGN})
    string(REPLACE "=" ";" pair ${pair})
    list(GET pair 0 found)
    list(GET pair 1 what)
    list(GET pair 2 package)
    if(NOT ${found})
      string(APPEND missing "\n  ${what} (Debian: ${package})")
      string(APPEND packages " ${package}")
    endif()
  endforeach()
  if(missing)
    message(FATAL_ERROR "praxino needs:${missing}\n"
      "Install with:\n  apt-get install${packages}\nor run tools/setup.sh")
  endif()
endfunction()
