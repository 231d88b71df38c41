#include <florence2.h>
