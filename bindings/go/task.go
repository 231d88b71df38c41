package florence2

// #include <florence2.h>
import "C"

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
	// TaskOpenVocabularyDetection detects the objects that the input text names: boxes and polygons.
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

// NeedsInput reports whether the task needs an input: the field Input or Region of a Request. It returns false for a text
// that is not the token of a task.
func (t Task) NeedsInput() bool {
	for index, task := range Tasks() {
		if task == t {
			return bool(C.florence2_task_needs_input(C.size_t(index)))
		}
	}
	return false
}
