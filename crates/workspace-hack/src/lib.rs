//! No code: the manifest requests features of dependencies that all builds of the workspace share.
