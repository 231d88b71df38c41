"""Checks the contents of the wheel for Windows:   windows_wheel.py WHEEL DLL

The wheel contains the Python package and exactly the library of the archive. The wheel is not run, because no Python for Windows is available."""

import sys
import zipfile

wheel, library = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    broken = archive.testzip()
    names = archive.namelist()
    metadata = next(name for name in names if name.endswith(".dist-info/WHEEL"))
    tag = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Tag: ")]
    libraries = [name for name in names if name.endswith((".dll", ".so"))]
    problems = []
    if broken is not None:
        problems.append(f"{broken}: found a wrong checksum")
    if tag != ["Tag: py3-none-win_amd64"]:
        problems.append(f"{metadata}: found {tag}, expected Tag: py3-none-win_amd64")
    if libraries != ["florence2/florence2.dll"]:
        problems.append(f"found the libraries {libraries}, expected florence2/florence2.dll")
    elif archive.read(libraries[0]) != open(library, "rb").read():
        problems.append(f"{libraries[0]}: found another file than {library}")
    problems += [f"found no {name}" for name in ("florence2/__init__.py", "florence2/py.typed") if name not in names]
for problem in problems:
    print(f"{wheel}: {problem}")
sys.exit(bool(problems))
