// swift-tools-version: 6.0
import PackageDescription

#if os(Linux)
// libflorence2 as `cargo xtask dist` lays it out, found by pkg-config.
let library: Target = .systemLibrary(name: "CFlorence2", pkgConfig: "florence2")
#else
// Made by make_xcframework.sh.
let library: Target = .binaryTarget(name: "CFlorence2", path: "CFlorence2.xcframework")
#endif

let package = Package(
    name: "Florence2",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [.library(name: "Florence2", targets: ["Florence2"])],
    targets: [
        library,
        .target(name: "Florence2", dependencies: ["CFlorence2"]),
        .testTarget(name: "Florence2Tests", dependencies: ["Florence2"]),
    ]
)
