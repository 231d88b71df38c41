import CFlorence2

/// A task of Florence-2. A string literal is a task by its token or name: `"<OD>"`, `"OD"` or `"od"`.
public struct Florence2Task: RawRepresentable, ExpressibleByStringLiteral, Hashable, Codable, Sendable {
    /// The token, such as `<OD>`, or the name.
    public let rawValue: String

    /// A task by its token or its name. A request with an unknown task fails when it runs.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// A task by its token or its name.
    public init(stringLiteral token: String) { self.init(rawValue: token) }

    /// One sentence about the image.
    public static let caption: Florence2Task = "<CAPTION>"
    /// A few sentences about the image.
    public static let detailedCaption: Florence2Task = "<DETAILED_CAPTION>"
    /// A paragraph about the image.
    public static let moreDetailedCaption: Florence2Task = "<MORE_DETAILED_CAPTION>"
    /// Boxes with category names.
    public static let objectDetection: Florence2Task = "<OD>"
    /// Boxes with descriptions.
    public static let denseRegionCaption: Florence2Task = "<DENSE_REGION_CAPTION>"
    /// Boxes without labels.
    public static let regionProposal: Florence2Task = "<REGION_PROPOSAL>"
    /// Boxes with phrases of the input text.
    public static let captionToPhraseGrounding: Florence2Task = "<CAPTION_TO_PHRASE_GROUNDING>"
    /// Boxes or polygons with the input text.
    public static let openVocabularyDetection: Florence2Task = "<OPEN_VOCABULARY_DETECTION>"
    /// Polygons of the object that the input text describes.
    public static let referringExpressionSegmentation: Florence2Task = "<REFERRING_EXPRESSION_SEGMENTATION>"
    /// Polygons of the object in the input region.
    public static let regionToSegmentation: Florence2Task = "<REGION_TO_SEGMENTATION>"
    /// The text in the image.
    public static let ocr: Florence2Task = "<OCR>"
    /// Text lines with quadrilaterals.
    public static let ocrWithRegion: Florence2Task = "<OCR_WITH_REGION>"
    /// The category of the object in the input region.
    public static let regionToCategory: Florence2Task = "<REGION_TO_CATEGORY>"
    /// A description of the object in the input region.
    public static let regionToDescription: Florence2Task = "<REGION_TO_DESCRIPTION>"
    /// The text in the input region.
    public static let regionToOCR: Florence2Task = "<REGION_TO_OCR>"

    /// All tasks of the library, by their tokens.
    public static var all: [Florence2Task] {
        (0..<florence2_task_count()).map { Florence2Task(rawValue: String(cString: florence2_task_token($0))) }
    }

    /// The input that the task needs besides the image; `nil` for an unknown task.
    public var input: Input? {
        rawValue.withCString { Input(rawValue: florence2_task_input_of($0)) }
    }

    /// The format of the task's answers; `nil` for an unknown task.
    public var postProcessingType: PostProcessingType? {
        rawValue.withCString { PostProcessingType(rawValue: florence2_task_post_processing_type($0)) }
    }

    /// The input that a task needs besides the image.
    public enum Input: Int32, Sendable {
        /// Nothing.
        case nothing = 1
        /// A text, such as a phrase: ``Florence2Request/Input/text(_:)``.
        case text
        /// A box in the image: ``Florence2Request/Input/region(_:)``.
        case region
    }

    /// The format of an answer, with the names of Hugging Face's `tasks_answer_post_processing_type`.
    public enum PostProcessingType: Int32, Sendable {
        /// Text without regions.
        case pureText = 1
        /// Labelled boxes.
        case descriptionWithBboxes
        /// Boxes without labels.
        case bboxes
        /// Boxes, labelled with phrases of the input.
        case phraseGrounding
        /// Quads, labelled with the text of a line.
        case ocr
        /// Polygons without labels.
        case polygons
        /// Labelled boxes or polygons.
        case descriptionWithBboxesOrPolygons
    }
}
