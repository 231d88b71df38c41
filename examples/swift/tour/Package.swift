// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "tour",
    platforms: [.macOS(.v13)],
    dependencies: [.package(name: "Florence2", path: "../../..")],
    targets: [
        .executableTarget(
            name: "tour", dependencies: [.product(name: "Florence2", package: "Florence2")], path: ".",
            sources: ["main.swift"])
    ]
)
