// SPDX-License-Identifier: GPL-2.0
/* Asking for an attempt to end the transition from where no work can be queued. */

#include <linux/irq_work.h>

#include "livepatch.h"

static void livepatch_retry_in_irq(struct irq_work *work)
{
	livepatch_retry_now();
}

static struct irq_work livepatch_retry_work = IRQ_WORK_INIT(livepatch_retry_in_irq);

void livepatch_retry_soon(void)
{
	irq_work_queue(&livepatch_retry_work);
}
