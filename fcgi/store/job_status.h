/* SPDX-License-Identifier: MIT
 *
 * job_status: the numbers in the status column of the jobs table (contract, section 2).
 */
#ifndef BBM_JOB_STATUS_H
#define BBM_JOB_STATUS_H

enum job_status {
    JOB_ACTIVE = 1, /* never committed by a worker */
    JOB_FINISHED = 2,
    JOB_FAILED = 3,
};

#endif
