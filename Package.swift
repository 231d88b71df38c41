// swift-tools-version: 6.0
import PackageDescription

// The XCFramework of a release and its checksum. They are nil except in the tagged commit of a release: see CONTRIBUTING.md.
let released: (url: String, checksum: String)? = nil

#if os(macOS)
// Without a released XCFramework, the package uses the one that bindings/swift/make_xcframework.sh creates.
let library: Target =
    if let released {
        .binaryTarget(name: "CFlorence2", url: released.url, checksum: released.checksum)
    } else {
        .binaryTarget(name: "CFlorence2", path: "bindings/swift/CFlorence2.xcframework")
    }
#else
// pkg-config finds the installed libflorence2.
let library: Target = .systemLibrary(
    name: "CFlorence2", path: "bindings/swift/Sources/CFlorence2", pkgConfig: "florence2")
#endif

let package = Package(
    name: "Florence2",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [.library(name: "Florence2", targets: ["Florence2"])],
    targets: [
        library,
        .target(name: "Florence2", dependencies: ["CFlorence2"], path: "bindings/swift/Sources/Florence2"),
        .testTarget(name: "Florence2Tests", dependencies: ["Florence2"], path: "bindings/swift/Tests/Florence2Tests"),
    ]
)
