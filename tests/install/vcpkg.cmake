# Runs the port of `cargo xtask package` with the functions of vcpkg that it calls, and without network:
#   cmake -DPACKAGES=.. -DREPOSITORY=.. -DSYSTEM=Linux|Windows -DARCHITECTURE=x64|arm64 -DOUT=.. -P vcpkg.cmake
# OUT becomes the folder of the installed package.
cmake_minimum_required(VERSION 3.25)
set(CURRENT_PACKAGES_DIR "${OUT}")
set(VCPKG_TARGET_ARCHITECTURE "${ARCHITECTURE}")
string(COMPARE EQUAL "${SYSTEM}" Windows VCPKG_TARGET_IS_WINDOWS)

function(vcpkg_check_linkage linkage)
  if(NOT linkage STREQUAL "ONLY_DYNAMIC_LIBRARY")
    message(FATAL_ERROR "vcpkg_check_linkage: found ${linkage}, expected ONLY_DYNAMIC_LIBRARY")
  endif()
endfunction()

# The file of the packages, if the address and the checksum are those of a release.
function(vcpkg_download_distfile out)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "URLS;FILENAME;SHA512" "")
  file(SHA512 "${PACKAGES}/${arg_FILENAME}" found)
  if(NOT found STREQUAL arg_SHA512)
    message(FATAL_ERROR "${arg_FILENAME}: SHA512: found ${arg_SHA512} in the port, expected ${found}")
  endif()
  if(NOT arg_URLS MATCHES "^${REPOSITORY}/releases/download/v[0-9][^/]*/${arg_FILENAME}$")
    message(FATAL_ERROR "${arg_FILENAME}: found the address ${arg_URLS}, expected one of ${REPOSITORY}")
  endif()
  set(${out} "${PACKAGES}/${arg_FILENAME}" PARENT_SCOPE)
endfunction()

# Unpacks the archive, and returns its single folder.
function(vcpkg_extract_source_archive out)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ARCHIVE" "")
  file(ARCHIVE_EXTRACT INPUT "${arg_ARCHIVE}" DESTINATION "${OUT}-unpacked")
  file(GLOB folders "${OUT}-unpacked/*")
  list(LENGTH folders count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "${arg_ARCHIVE}: found ${count} files and folders at the top, expected 1")
  endif()
  set(${out} "${folders}" PARENT_SCOPE)
endfunction()

function(vcpkg_replace_string file from to)
  file(READ "${file}" old)
  string(REPLACE "${from}" "${to}" new "${old}")
  if(new STREQUAL old)
    message(FATAL_ERROR "${file}: found no ${from}")
  endif()
  file(WRITE "${file}" "${new}")
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  foreach(licence IN LISTS arg_FILE_LIST)
    file(READ "${licence}" text)
    file(APPEND "${OUT}/share/florence2/copyright" "${text}")
  endforeach()
endfunction()

# Rewrites the paths of debug builds.
function(vcpkg_fixup_pkgconfig)
endfunction()

include("${PACKAGES}/vcpkg/portfile.cmake")
