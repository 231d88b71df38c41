import Foundation
import Testing

@testable import Florence2

private let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().appendingPathComponent("../../../../assets/demo-model").standardizedFileURL.path
private let scene = folder + "/scenes/scene-1.png"

/// The binding on the demo model, whose answers on its scene are known.
struct Florence2Tests {
    let model: Model
    let image: Image

    init() throws {
        model = try Model.demo()
        image = try Image(contentsOf: scene)
    }

    private func long(_ beams: Int = 8) -> RunOptions {
        var options = RunOptions(numBeams: beams, maxNewTokens: 200)
        options.minNewTokens = 200
        return options
    }

    @Test func regionsAreRight() throws {
        let answer = try model.run(Request(image, task: "<OD>"))
        #expect(answer.regions.map(\.label) == ["white circle", "orange star", "purple square"])
        let circle = try #require(answer.regions.first)
        #expect(circle.kind == .box && abs(circle.points[0].x - 31.392) < 1e-3)
        #expect(try #require(circle.score?.label) > 0.9)
        #expect(answer.width == 192 && answer.height == 192 && answer.finishReason == "end_of_text")
        var options = RunOptions()
        options.hfCompat = true
        let whole = try model.run(Request(image, task: "<OD>"), options: options)
        #expect(whole.regions.allSatisfy { $0.points.allSatisfy { $0.x == $0.x.rounded() } })
    }

    @Test func everyKindOfImage() throws {
        let expected = try model.run(Request(image, task: "<OD>")).tokenIDs
        let encoded = try Image(encoded: Data(contentsOf: URL(fileURLWithPath: scene)))
        #expect(try model.run(Request(encoded, task: "<OD>")).tokenIDs == expected)
        // Rows of 4 pixels in 14 bytes.
        let pixels = try Image(pixels: Data(count: 3 * 14), width: 4, height: 3, format: .bgr, stride: 14)
        #expect(pixels.width == 4 && pixels.height == 3)
        #expect(throws: Florence2Error.self) { try Image(pixels: Data(count: 3), width: 4, height: 3, format: .gray) }
        #expect(throws: Florence2Error.self) { try Image(pixels: Data(), width: -1, height: 3, format: .gray) }
    }

    @Test func batchesFeaturesAndOptions() throws {
        let features = try model.encode(image)
        let requests = [
            Request(features, task: "<CAPTION>"),
            Request(image, task: "<REGION_TO_CATEGORY>", region: .pixels(x1: 30, y1: 30, x2: 104, y2: 104)),
            Request(image, task: "<CAPTION_TO_PHRASE_GROUNDING>", input: "ein weißer Kreis 🟠"),
        ]
        let together = try model.run(requests)
        for (request, answer) in zip(requests, together) {
            #expect(try model.run(request).tokenIDs == answer.tokenIDs)
        }
        var options = RunOptions(numBeams: 3)
        options.numReturnSequences = 3
        #expect(try model.run(requests[0], options: options).alternatives?.count == 2)
        #expect(try model.run([]).isEmpty)
    }

    @Test func answersAreCodable() throws {
        let answer = try model.run(Request(image, task: "<OCR_WITH_REGION>"))
        #expect(try JSONDecoder().decode(Answer.self, from: JSONEncoder().encode(answer)) == answer)
    }

    @Test func scoresAddUp() throws {
        let score = try model.score(Request(image, task: "<CAPTION>"), target: "a white circle")
        let mean = score.tokens.map(\.logProb).reduce(0, +) / Float(score.tokens.count)
        #expect(abs(score.loss + mean) < 1e-4)
    }

    @Test func tokensAreHeard() async throws {
        let request = Request(image, task: "<CAPTION>")
        var heard = ""
        let answer = try model.run(request, options: RunOptions(numBeams: 1)) { heard += $0.text }
        #expect(heard.contains(answer.text) && !answer.text.isEmpty)
        struct Mine: Error {}
        #expect(throws: Mine.self) { try model.run(request, options: RunOptions(numBeams: 1)) { _ in throw Mine() } }
        var streamed = ""
        for try await token in model.tokens(request) { streamed += token.text }
        #expect(streamed == heard)
        // Leaving the loop ends the run.
        for try await _ in model.tokens(request, options: long(1)) { break }
    }

    @Test func tasksAreCancelled() async throws {
        let request = Request(image, task: "<CAPTION>")
        let expected = try await model.run(request).tokenIDs
        #expect(try await model.run(request).tokenIDs == expected)
        let options = long()
        // However late the sleep ends, a run is under way.
        let task = Task { while true { _ = try await model.run(request, options: options) } }
        try await Task.sleep(for: .milliseconds(30))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        var late = long()
        late.deadlineMilliseconds = 5
        #expect { try model.run(request, options: late) } throws: {
            ($0 as? Florence2Error)?.status == .deadlineExceeded
        }
    }

    @Test func systemAndWarnings() {
        #expect(Library.systemInfo.contains("\"version\":\"\(Library.version)\""))
        #expect(model.warnings == [])
        Library.trim()
        #expect(throws: Florence2Error.self) { try Library.setSIMDLevel("abacus") }
    }

    @Test func refusals() throws {
        let refused: [(Florence2Error.Status, () throws -> Void)] = [
            (.io, { _ = try Image(contentsOf: "/nowhere.png") }),
            (.invalidImage, { _ = try Image(encoded: Data("no image".utf8)) }),
            (.invalidImage, { _ = try Image(encoded: Data()) }),
            (.unsupportedDevice, { _ = try Model.demo(options: .init(device: "abacus")) }),
            (.invalidArgument, { _ = try Model.demo(options: .init(dtype: "f99")) }),
            (.io, { _ = try Model(contentsOf: "/nowhere") }),
            (.invalidArgument, { _ = try model.run(Request(image, task: "<NOTHING>")) }),
            (.invalidArgument, { _ = try model.run(Request(image, task: "<O\0D>")) }),
            (.invalidArgument, { _ = try model.run(Request(image, task: "<OD>"), options: RunOptions(numBeams: -1)) }),
        ]
        for (status, call) in refused {
            #expect { try call() } throws: {
                let error = $0 as? Florence2Error
                return error?.status == status && !(error?.message.isEmpty ?? true)
            }
        }
    }

    @Test func theFirstErrorOfACallbackIsTheRuns() throws {
        struct Numbered: Error, Equatable { let number: Int }
        var calls = 0
        let requests = [Request(image, task: "<CAPTION>"), Request(image, task: "<OD>")]
        #expect(throws: Numbered(number: 1)) {
            try model.run(requests, options: RunOptions(numBeams: 1)) { _ in
                calls += 1
                throw Numbered(number: calls)
            }
        }
    }

    @Test func aStatusOfALaterLibraryHasItsNumber() {
        #expect(throws: Florence2Error(status: .init(rawValue: 99), message: "florence2 status 99")) {
            try check { _ in 99 }
        }
    }

    @Test func manyThreadsShareAFolderModel() async throws {
        let model = try Model(contentsOf: folder, options: .init(threads: 2))
        let request = Request(image, task: "<OD>")
        let expected = try await model.run(request).tokenIDs
        let answers = try await withThrowingTaskGroup(of: [UInt32].self) { group in
            for _ in 0..<16 { group.addTask { try await model.run(request).tokenIDs } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers == Array(repeating: expected, count: 16))
    }

    @Test func libraryTellsOfItself() {
        #expect(Library.devices.first == "cpu" && !Library.version.isEmpty)
    }
}
