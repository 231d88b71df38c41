# Written by `cargo xtask package` from packaging/vcpkg/portfile.cmake.
#
# Installs the shared library of the release archives. vcpkg installs compilers of C and C++ only, so a build from source would
# require Rust on every user's machine, and minutes. The archives contain the same library.
#
# Only the shared library is installed. The static library of the archive for Windows is MinGW's, which MSVC cannot link.
vcpkg_check_linkage(ONLY_DYNAMIC_LIBRARY)

if(VCPKG_TARGET_IS_WINDOWS)
  set(archive "florence2-@VERSION@-windows-x86_64.zip")
  set(checksum "@SHA512:florence2-@VERSION@-windows-x86_64.zip@")
elseif(VCPKG_TARGET_ARCHITECTURE STREQUAL "arm64")
  set(archive "florence2-@VERSION@-linux-aarch64.tar.gz")
  set(checksum "@SHA512:florence2-@VERSION@-linux-aarch64.tar.gz@")
else()
  set(archive "florence2-@VERSION@-linux-x86_64.tar.gz")
  set(checksum "@SHA512:florence2-@VERSION@-linux-x86_64.tar.gz@")
endif()
vcpkg_download_distfile(downloaded
  URLS "@REPOSITORY@/releases/download/v@VERSION@/${archive}"
  FILENAME "${archive}"
  SHA512 "${checksum}")
vcpkg_extract_source_archive(unpacked ARCHIVE "${downloaded}")

# Debug builds use the same library.
foreach(prefix "${CURRENT_PACKAGES_DIR}" "${CURRENT_PACKAGES_DIR}/debug")
  file(INSTALL "${unpacked}/lib/pkgconfig/florence2.pc" DESTINATION "${prefix}/lib/pkgconfig")
  if(VCPKG_TARGET_IS_WINDOWS)
    file(INSTALL "${unpacked}/bin/florence2.dll" DESTINATION "${prefix}/bin")
    file(INSTALL "${unpacked}/lib/florence2.lib" "${unpacked}/lib/libflorence2.dll.a" DESTINATION "${prefix}/lib")
  else()
    file(GLOB libraries "${unpacked}/lib/libflorence2.so*")
    file(INSTALL ${libraries} DESTINATION "${prefix}/lib")
  endif()
endforeach()
vcpkg_fixup_pkgconfig()

file(INSTALL "${unpacked}/include/" DESTINATION "${CURRENT_PACKAGES_DIR}/include")
file(INSTALL "${unpacked}/lib/cmake/florence2/" DESTINATION "${CURRENT_PACKAGES_DIR}/share/florence2")
# The package's files are two folders below the prefix, instead of three.
vcpkg_replace_string("${CURRENT_PACKAGES_DIR}/share/florence2/florence2Config.cmake"
  [[${CMAKE_CURRENT_LIST_DIR}/../../..]] [[${CMAKE_CURRENT_LIST_DIR}/../..]])

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/florence2")
set(licences "${unpacked}/share/licenses/florence2")
vcpkg_install_copyright(FILE_LIST "${licences}/LICENSE-MIT" "${licences}/LICENSE-APACHE" "${licences}/THIRD-PARTY.txt")
