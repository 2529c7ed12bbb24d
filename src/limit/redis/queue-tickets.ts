import type { Concurrency } from '../policy.js';
import type { Joined, JoinRequest } from '../queue/waiting-queue.js';
import { StoreError, unavailable } from '../store.js';
import { type QueueStep, steps } from './queue-call.js';
import { QueuePoll } from './queue-poll.js';
import { type QueueReply, readQueueReply } from './queue-reply.js';
import { RedisTicket, type TicketPort } from './queue-ticket.js';
