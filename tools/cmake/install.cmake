# `cmake --install` lays down the command, the module libraries with their headers, and a package
# that other projects find with find_package(praxino).
include(CMakePackageConfigHelpers)

get_property(modules GLOBAL PROPERTY PRAXINO_MODULES)
list(TRANSFORM modules PREPEND praxino_)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/praxino)

install(TARGETS praxino_cli RUNTIME)
install(TARGETS praxino praxino_headers ${modules} EXPORT praxinoTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(PRAXINO_CUDA)  # what the operations launch
  install(TARGETS praxino_kernels EXPORT praxinoTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(EXPORT praxinoTargets NAMESPACE praxino:: DESTINATION ${package})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/praxinoConfig.cmake.in
  ${PROJECT_BINARY_DIR}/praxinoConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/praxinoConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/praxinoConfig.cmake ${PROJECT_BINARY_DIR}/praxinoConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/FindLibTorch.cmake DESTINATION ${package})

# Every public header compiles alone: cmake --build build --target verify_headers
# CMake makes the targets behind it only when it generates, so they cannot be named as dependencies.
add_custom_target(verify_headers
  COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR} --target all_verify_interface_header_sets)
