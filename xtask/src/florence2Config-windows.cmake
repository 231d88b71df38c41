# florence2::florence2 is the DLL, florence2::florence2_static the static library, which MinGW can link.
get_filename_component(_florence2_prefix "${CMAKE_CURRENT_LIST_DIR}/@PREFIX_FROM_CMAKE@" ABSOLUTE)

if(NOT TARGET florence2::florence2)
  add_library(florence2::florence2 SHARED IMPORTED)
  if(MSVC)
    set(_florence2_import florence2.lib)
  else()
    set(_florence2_import libflorence2.dll.a)
  endif()
  set_target_properties(florence2::florence2 PROPERTIES
    IMPORTED_LOCATION "${_florence2_prefix}/bin/@SHARED@"
    IMPORTED_IMPLIB "${_florence2_prefix}/@LIBDIR@/${_florence2_import}"
    INTERFACE_COMPILE_DEFINITIONS FLORENCE2_SHARED
    INTERFACE_INCLUDE_DIRECTORIES "${_florence2_prefix}/include")
  if(NOT MSVC)
    add_library(florence2::florence2_static STATIC IMPORTED)
    set_target_properties(florence2::florence2_static PROPERTIES
      IMPORTED_LOCATION "${_florence2_prefix}/@LIBDIR@/libflorence2.a"
      INTERFACE_INCLUDE_DIRECTORIES "${_florence2_prefix}/include"
      INTERFACE_LINK_LIBRARIES "@SYSTEM_LIBRARY_LIST@")
  endif()
  unset(_florence2_import)
endif()
unset(_florence2_prefix)
