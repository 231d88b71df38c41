# Written by `cargo xtask package` from packaging/homebrew/florence2.rb.
class Florence2 < Formula
  desc "Caption, detect, ground, segment and read text in images with Florence-2"
  homepage "@REPOSITORY@"
  url "@REPOSITORY@/releases/download/v@VERSION@/florence2-@VERSION@.src.tar.gz"
  version "@VERSION@"
  sha256 "@SHA256@"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    # The package workspace-hack makes both builds request the same features, so that dependencies are compiled once.
    system "cargo", "build", "--release", "--locked", "--package", "florence2-cli", "--package", "workspace-hack"
    bin.install "target/release/florence2"
    system "cargo", "xtask", "dist", "--features", "demo", "--out", prefix
    generate_completions_from_executable(bin/"florence2", "completions")
    pkgshare.install "examples/c/detect.c", "assets/demo-model/scenes/scene-1.png"
  end

  test do
    scene = pkgshare/"scene-1.png"
    assert_match "white circle", shell_output("#{bin}/florence2 run #{scene} --task OD")
    system ENV.cc, pkgshare/"detect.c", "-I#{include}", "-L#{lib}", "-lflorence2", "-o", "detect"
    assert_match "white circle", shell_output("./detect #{scene}")
  end
end
