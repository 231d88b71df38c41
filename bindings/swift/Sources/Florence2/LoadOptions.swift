import CFlorence2
import Foundation

extension Florence2Model {
    /// The files of a model.
    public enum Source: Sendable {
        /// A folder in Microsoft's or Hugging Face's layout.
        case folder(URL)
        /// The contents of the folder's files, by their names.
        case files([String: Data])
        /// The embedded demo model.
        case demo

        /// Loads the model. `arguments` holds the arguments, and must live as long as `native` is used.
        func load(
            _ native: inout florence2_load_options, _ arguments: CArguments
        ) throws(Florence2Error) -> OpaquePointer {
            switch self {
            case .folder(let folder):
                let folder = try arguments.path(folder, "folder")
                return try make { florence2_model_load(folder, &native, $0, $1) }
            case .files(let files):
                let array = try arguments.files(files, "files")
                return try make { florence2_model_load_memory(array, files.count, &native, $0, $1) }
            case .demo:
                return try make { florence2_model_load_demo(&native, $0, $1) }
            }
        }
    }

    /// The options of loading a model.
    public struct LoadOptions: Sendable {
        /// One of ``Florence2Library/devices``, or "auto".
        public var device: String?
        /// The type in which weights are stored and multiplied: "f32", "f16", "bf16" or "int8", where the device
        /// supports it; `nil` for f32.
        public var dtype: String?
        /// LoRA adapters, merged into the weights in this order.
        public var adapters: [Adapter] = []
        /// The number of threads that the model starts and computes with; 0 for the threads of the process.
        public var threads = 0
        /// The largest number of threads that spin between two operations of a run on the CPU: 0 for 8, -1 for none.
        public var spinLimit = 0
        /// A weights file of any name or an index of shards, instead of the weights in the model's folder. Must be
        /// `nil` for a model in memory.
        public var weights: URL?
        /// A folder with the files of the image processor and of the tokenizer, if they are not in the
        /// model's folder. Must be `nil` for a model in memory.
        public var processor: URL?

        /// A device, a type of weights and a number of threads; by default the best device, f32 and the threads of the
        /// process. The other options are set by their names.
        public init(device: String? = nil, dtype: String? = nil, threads: Int = 0) {
            self.device = device
            self.dtype = dtype
            self.threads = threads
        }

        /// The options as C reads them, while `arguments` lives.
        func native(_ arguments: CArguments) throws(Florence2Error) -> florence2_load_options {
            var native = florence2_load_options()
            florence2_load_options_init(&native, MemoryLayout<florence2_load_options>.size)
            native.device = try arguments.string(device, "device")
            native.dtype = try arguments.string(dtype, "dtype")
            native.threads = try exactly(threads, "threads")
            native.spin_limit = try exactly(spinLimit, "spinLimit", atLeast: -1)
            native.weights = try arguments.path(weights, "weights")
            native.processor = try arguments.path(processor, "processor")
            var merged: [florence2_adapter] = []
            for (index, adapter) in adapters.enumerated() {
                merged.append(try adapter.native(arguments, "adapters[\(index)]"))
            }
            native.adapters = arguments.array(merged)
            native.adapters_len = merged.count
            return native
        }
    }

    /// A LoRA adapter in PEFT's format.
    public struct Adapter: Sendable {
        private enum Source {
            case folder(URL)
            case files([String: Data])
        }

        private let source: Source
        /// The factor of the adapter's updates, as in PEFT's `set_scale`; not 0.
        public var scale: Float

        /// The adapter in a folder: adapter_config.json and the adapter's weights.
        public init(contentsOf folder: URL, scale: Float = 1) {
            source = .folder(folder)
            self.scale = scale
        }

        /// An adapter from the contents of its folder's files, by their names.
        public init(files: [String: Data], scale: Float = 1) {
            source = .files(files)
            self.scale = scale
        }

        /// The adapter as C reads it, while `arguments` lives.
        fileprivate func native(
            _ arguments: CArguments, _ argument: String
        ) throws(Florence2Error) -> florence2_adapter {
            // C has 1 for 0.
            guard scale != 0 else {
                throw Florence2Error(
                    status: .invalidArgument, message: "argument `\(argument).scale`: found 0, expected another number")
            }
            var native = florence2_adapter()
            native.scale = scale
            switch source {
            case .folder(let folder): native.folder = try arguments.path(folder, "\(argument).folder")
            case .files(let files):
                native.files = try arguments.files(files, "\(argument).files")
                native.files_len = files.count
            }
            return native
        }
    }

    /// The progress of loading a model.
    public struct LoadProgress: Sendable, Equatable {
        /// The number of tensors that were loaded.
        public let tensors: Int
        /// The number of tensors to load.
        public let totalTensors: Int
        /// The number of values in the loaded tensors.
        public let parameters: UInt64
        /// The number of values in all tensors to load.
        public let totalParameters: UInt64

        init(_ native: florence2_load_progress) {
            tensors = native.tensors
            totalTensors = native.total_tensors
            parameters = native.parameters
            totalParameters = native.total_parameters
        }
    }
}
