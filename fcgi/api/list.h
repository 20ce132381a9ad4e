/* SPDX-License-Identifier: MIT
 *
 * list: all migrations, or one (contract, section 2).
 */
#ifndef BBM_LIST_H
#define BBM_LIST_H

#include "http/handler.h"

handler list_all;
handler list_one;

#endif
