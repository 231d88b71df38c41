// swift-tools-version: 6.0
import PackageDescription

#if os(Linux)
// pkg-config finds libflorence2 in the folder that `cargo xtask dist` creates.
let library: Target = .systemLibrary(name: "CFlorence2", pkgConfig: "florence2")
#else
// make_xcframework.sh creates the framework.
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
