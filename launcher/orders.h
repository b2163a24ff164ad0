/* What bubblewrap and the inner stage are to do, told to them once they run. Bubblewrap is started as soon as it is known
 * which one, and finds its libraries while the launcher still looks for what to protect.
 *
 * Bubblewrap reads its options up to the end of a stream, and a launcher that dies ends that stream, too: half of them
 * would be a weaker sandbox. So the inner stage does nothing before MESSAGE_ORDERS has come, which is sent after both
 * streams were written to their ends, and which only a living launcher can send. */
#ifndef FLEETBOX_ORDERS_H
#define FLEETBOX_ORDERS_H

#include <stdbool.h>

#include "mem.h"

/* To one end of a socket, which is closed. False: not all of it was written, for want of memory or of a reader. */
bool orders_write(int stream, const struct strings *words);

/* Only when both streams have been written whole. False: nobody has been told. */
bool orders_send(int control, int filter);

/* The inner stage's side: its words, NULL at their end, and the filter's descriptor. Ends this process where the launcher
 * is gone; gives up on anything that is not whole. */
char **orders_receive(int control, int *filter);

#endif
