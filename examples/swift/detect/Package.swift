// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "detect",
    platforms: [.macOS(.v13)],
    dependencies: [.package(name: "Florence2", path: "../../..")],
    targets: [
        .executableTarget(
            name: "detect", dependencies: [.product(name: "Florence2", package: "Florence2")], path: ".",
            sources: ["main.swift"])
    ]
)
