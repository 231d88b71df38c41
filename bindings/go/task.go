package florence2

// #include <florence2.h>
import "C"

import "fmt"

// Task is the token of a task, such as "<OD>". The library also accepts its name, such as "OD" or "od".
type Task string

// The tasks.
const (
	// TaskCaption describes the image in a sentence.
	TaskCaption Task = "<CAPTION>"
	// TaskDetailedCaption describes the image in detail.
	TaskDetailedCaption Task = "<DETAILED_CAPTION>"
	// TaskMoreDetailedCaption describes the image in a paragraph.
	TaskMoreDetailedCaption Task = "<MORE_DETAILED_CAPTION>"
	// TaskOD detects objects: boxes with the names of their categories.
	TaskOD Task = "<OD>"
	// TaskDenseRegionCaption detects objects: boxes with descriptions.
	TaskDenseRegionCaption Task = "<DENSE_REGION_CAPTION>"
	// TaskRegionProposal detects objects: boxes without labels.
	TaskRegionProposal Task = "<REGION_PROPOSAL>"
	// TaskOCR reads the text in the image.
	TaskOCR Task = "<OCR>"
	// TaskOCRWithRegion reads the text in the image: a quad with a label for each line.
	TaskOCRWithRegion Task = "<OCR_WITH_REGION>"
	// TaskCaptionToPhraseGrounding locates the phrases of the input text: boxes.
	TaskCaptionToPhraseGrounding Task = "<CAPTION_TO_PHRASE_GROUNDING>"
	// TaskReferringExpressionSegmentation segments the object that the input text describes: polygons.
	TaskReferringExpressionSegmentation Task = "<REFERRING_EXPRESSION_SEGMENTATION>"
	// TaskRegionToSegmentation segments the object in the input region: polygons.
	TaskRegionToSegmentation Task = "<REGION_TO_SEGMENTATION>"
	// TaskOpenVocabularyDetection detects the objects that the input text names: boxes or polygons.
	TaskOpenVocabularyDetection Task = "<OPEN_VOCABULARY_DETECTION>"
	// TaskRegionToCategory names the category of the input region.
	TaskRegionToCategory Task = "<REGION_TO_CATEGORY>"
	// TaskRegionToDescription describes the input region.
	TaskRegionToDescription Task = "<REGION_TO_DESCRIPTION>"
	// TaskRegionToOCR reads the text in the input region.
	TaskRegionToOCR Task = "<REGION_TO_OCR>"
)

// Tasks returns the tasks of the library.
func Tasks() []Task {
	tasks := make([]Task, C.florence2_task_count())
	for index := range tasks {
		tasks[index] = Task(C.GoString(C.florence2_task_token(C.size_t(index))))
	}
	return tasks
}

// TaskInput is the input that a task needs besides the image.
type TaskInput int32

// The inputs of tasks.
const (
	// InputUnknown is the input of a task that the library does not have.
	InputUnknown TaskInput = C.FLORENCE2_TASK_INPUT_UNKNOWN
	// InputNone is no input.
	InputNone TaskInput = C.FLORENCE2_TASK_INPUT_NONE
	// InputText is a text, such as a phrase: the field Input of a Request.
	InputText TaskInput = C.FLORENCE2_TASK_INPUT_TEXT
	// InputRegion is a box in the image: the field Region of a Request, or four location tokens in the field Input.
	InputRegion TaskInput = C.FLORENCE2_TASK_INPUT_REGION
)

// String returns the name of the input.
func (i TaskInput) String() string {
	names := map[TaskInput]string{InputUnknown: "unknown", InputNone: "none", InputText: "text", InputRegion: "region"}
	if name, ok := names[i]; ok {
		return name
	}
	return fmt.Sprintf("TaskInput(%d)", int32(i))
}

// Input returns the input that the task needs.
func (t Task) Input() TaskInput {
	var args arguments
	defer args.release()
	return TaskInput(C.florence2_task_input_of(args.text(string(t))))
}

// PostProcessingType is the format of an answer, with the names of Hugging Face's tasks_answer_post_processing_type.
type PostProcessingType string

// The formats of answers.
const (
	// PureText is text without regions.
	PureText PostProcessingType = "pure_text"
	// DescriptionWithBboxes is labelled boxes.
	DescriptionWithBboxes PostProcessingType = "description_with_bboxes"
	// Bboxes is boxes without labels.
	Bboxes PostProcessingType = "bboxes"
	// PhraseGrounding is boxes, labelled with phrases of the input.
	PhraseGrounding PostProcessingType = "phrase_grounding"
	// OCR is quads, labelled with the text of a line.
	OCR PostProcessingType = "ocr"
	// Polygons is polygons without labels.
	Polygons PostProcessingType = "polygons"
	// DescriptionWithBboxesOrPolygons is labelled boxes or polygons.
	DescriptionWithBboxesOrPolygons PostProcessingType = "description_with_bboxes_or_polygons"
)

// PostProcessingType returns the format of the task's answers. It is empty for a task that the library does not have.
func (t Task) PostProcessingType() PostProcessingType {
	var args arguments
	defer args.release()
	switch native := C.florence2_task_post_processing_type(args.text(string(t))); native {
	case C.FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN:
		return ""
	case C.FLORENCE2_POST_PROCESSING_TYPE_PURE_TEXT:
		return PureText
	case C.FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES:
		return DescriptionWithBboxes
	case C.FLORENCE2_POST_PROCESSING_TYPE_BBOXES:
		return Bboxes
	case C.FLORENCE2_POST_PROCESSING_TYPE_PHRASE_GROUNDING:
		return PhraseGrounding
	case C.FLORENCE2_POST_PROCESSING_TYPE_OCR:
		return OCR
	case C.FLORENCE2_POST_PROCESSING_TYPE_POLYGONS:
		return Polygons
	case C.FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES_OR_POLYGONS:
		return DescriptionWithBboxesOrPolygons
	default:
		return PostProcessingType(fmt.Sprintf("florence2_post_processing_type %d", int32(native)))
	}
}
