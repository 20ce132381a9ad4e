/* SPDX-License-Identifier: MIT
 *
 * memory: gives memory back that is not needed at present.
 *
 * Both functions are safe while other threads run. They cost time where that memory is needed
 * again: a few microseconds for each page.
 */
#ifndef BBM_MEMORY_H
#define BBM_MEMORY_H

/* Unmaps the pages of program and libraries that can be read from their files again. Most of what
 * a start touches (relocations, symbols, initialisers) is not needed later, and stays resident
 * otherwise: about 5 MiB. Call it once, after the start. A debugger's breakpoints are lost with the
 * pages that hold them: set them later. */
void memory_drop_code(void);

/* Gives back the heap's free pages. */
void memory_trim_heap(void);

#endif
