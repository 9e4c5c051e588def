#include "unit.h"
void test_lists_random(void) {}
