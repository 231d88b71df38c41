# florence2::florence2 is the shared library, florence2::florence2_static the static one.
get_filename_component(_florence2_prefix "${CMAKE_CURRENT_LIST_DIR}/@PREFIX_FROM_CMAKE@" ABSOLUTE)

if(NOT TARGET florence2::florence2)
  add_library(florence2::florence2 SHARED IMPORTED)
  set_target_properties(florence2::florence2 PROPERTIES
    IMPORTED_LOCATION "${_florence2_prefix}/@LIBDIR@/@SHARED@"
    IMPORTED_SONAME "@SHARED@"
    INTERFACE_COMPILE_DEFINITIONS FLORENCE2_SHARED
    INTERFACE_INCLUDE_DIRECTORIES "${_florence2_prefix}/include")
  if(APPLE)
    set_target_properties(florence2::florence2 PROPERTIES IMPORTED_SONAME "@rpath/@SHARED@")
  endif()
  add_library(florence2::florence2_static STATIC IMPORTED)
  set_target_properties(florence2::florence2_static PROPERTIES
    IMPORTED_LOCATION "${_florence2_prefix}/@LIBDIR@/libflorence2.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_florence2_prefix}/include")
  if(UNIX AND NOT APPLE)
    set_target_properties(florence2::florence2_static PROPERTIES INTERFACE_LINK_LIBRARIES "@SYSTEM_LIBRARY_LIST@")
  endif()
endif()
unset(_florence2_prefix)
