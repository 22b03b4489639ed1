/* SPDX-License-Identifier: Apache-2.0 */
/* Coroutines: a context switch of a few instructions, pooled stacks, a ready list on the loop. */
/*
 * How it works. Each coroutine has a stack of its own: one mapping with a guard page below, so
 * that an overflow faults and does not corrupt. Stacks of ended coroutines are kept (CO_POOL_MAX)
 * with the struct co at their top; a steady load starts coroutines without a system call or a
 * fresh page. co_switch() saves the callee-saved registers of the ABI on the present stack and
 * changes stacks; floating-point control words are the same everywhere in this program and are
 * left alone. The sanitizers are told of each switch.
 */
#include "vmm/core/co.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/core/loop.h"

#if defined(__SANITIZE_ADDRESS__)
#define CO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CO_TSAN 1
#endif
#endif

#ifdef CO_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
#if defined(CO_ASAN) || defined(CO_TSAN)
	CO_STACK_BYTES = 512 * 1024, /* red zones and instrumented libraries */
#else
	CO_STACK_BYTES = 64 * 1024,
#endif
	CO_POOL_MAX = 64,
};

struct co {
	void *sp;
	struct co_sched *sched;
	void (*fn)(void *arg);
	void *arg;
	bool ended;
	struct list link;
	char *stack; /* lowest usable byte */
#ifdef CO_ASAN
	void *fake_stack;
#endif
#ifdef CO_TSAN
	void *fiber;
#endif
};

struct co_sched {
	struct loop *loop;
	void *loop_sp;
	struct co *current;
	struct list ready;
	struct list pool;
	unsigned int pooled;
	unsigned int alive;
	struct loop_task task;
#ifdef CO_ASAN
	const void *loop_stack;
	size_t loop_stack_bytes;
	void *loop_fake_stack;
#endif
#ifdef CO_TSAN
	void *loop_fiber;
#endif
};

/* ---- the switch ---- */

/* Saves the present context at *@save_sp and continues the one saved at @to_sp. */
void co_switch(void **save_sp, void *to_sp);
/* Where a new context begins: calls co_main() with the argument in its frame. */
void co_boot(void);
void co_main(struct co *c);

#if defined(__x86_64__)
__asm__(".text\n"
	".p2align 4\n"
	".type co_switch,@function\n"
	".globl co_switch\n"
	".hidden co_switch\n"
	"co_switch:\n"
	"	endbr64\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size co_switch,.-co_switch\n"
	".type co_boot,@function\n"
	".hidden co_boot\n"
	".globl co_boot\n"
	"co_boot:\n"
	"	endbr64\n"
	"	movq %rbx, %rdi\n"
	"	call co_main\n"
	"	ud2\n"
	".size co_boot,.-co_boot\n");
/* 9 words: at co_boot the stack pointer is a multiple of 16, as a call wants it. */
enum { CO_FRAME_WORDS = 9, CO_FRAME_ARG = 4, CO_FRAME_PC = 6 };
#elif defined(__aarch64__)
__asm__(".text\n"
	".p2align 4\n"
	".type co_switch,%function\n"
	".globl co_switch\n"
	".hidden co_switch\n"
	"co_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size co_switch,.-co_switch\n"
	".type co_boot,%function\n"
	".hidden co_boot\n"
	".globl co_boot\n"
	"co_boot:\n"
	"	mov x0, x19\n"
	"	bl co_main\n"
	"	brk #1\n"
	".size co_boot,.-co_boot\n");
enum { CO_FRAME_WORDS = 20, CO_FRAME_ARG = 0, CO_FRAME_PC = 11 };
#else
#error "co_switch() is missing for this architecture"
#endif

static void enter_co(struct co_sched *s, struct co *c)
{
#ifdef CO_TSAN
	s->loop_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(c->fiber, 0);
#endif
#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(&s->loop_fake_stack, c->stack, CO_STACK_BYTES);
#endif
	co_switch(&s->loop_sp, c->sp);
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(s->loop_fake_stack, NULL, NULL);
#endif
}

static void leave_co(struct co_sched *s, struct co *c)
{
#ifdef CO_TSAN
	__tsan_switch_to_fiber(s->loop_fiber, 0);
#endif
#ifdef CO_ASAN
	/* An ended coroutine's fake stack is freed. */
	__sanitizer_start_switch_fiber(c->ended ? NULL : &c->fake_stack, s->loop_stack,
				       s->loop_stack_bytes);
#endif
	co_switch(&c->sp, s->loop_sp);
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(c->fake_stack, &s->loop_stack, &s->loop_stack_bytes);
#endif
}

/* ---- life of a coroutine ---- */

void co_main(struct co *c)
{
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(NULL, &c->sched->loop_stack, &c->sched->loop_stack_bytes);
#endif
	c->fn(c->arg);
	c->ended = true;
	leave_co(c->sched, c);
	abort(); /* an ended coroutine is never entered */
}

static size_t guard_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* The struct co sits at the top of its own stack. */
static struct co *stack_map(struct co_sched *s)
{
	size_t guard = guard_bytes();
	char *m = mmap(NULL, guard + CO_STACK_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (m == MAP_FAILED)
		return NULL;
	if (mprotect(m, guard, PROT_NONE) < 0) {
		munmap(m, guard + CO_STACK_BYTES);
		return NULL;
	}
	struct co *c = (struct co *)(m + guard + CO_STACK_BYTES - align_up(sizeof(*c), 64));
	*c = (struct co){ .sched = s, .stack = m + guard };
	list_init(&c->link);
	return c;
}

static void stack_unmap(struct co *c)
{
	size_t guard = guard_bytes();
	munmap(c->stack - guard, guard + CO_STACK_BYTES);
}

static struct co *co_get(struct co_sched *s)
{
	if (list_empty(&s->pool))
		return stack_map(s);
	struct co *c = list_first(&s->pool, struct co, link);
	list_del(&c->link);
	s->pooled--;
	return c;
}

static void co_recycle(struct co_sched *s, struct co *c)
{
	s->alive--;
#ifdef CO_TSAN
	__tsan_destroy_fiber(c->fiber);
#endif
	if (s->pooled == CO_POOL_MAX) {
		stack_unmap(c);
		return;
	}
	list_add_head(&s->pool, &c->link); /* its pages are warm */
	s->pooled++;
}

static void prepare(struct co *c, void (*fn)(void *arg), void *arg)
{
	void **frame = (void **)c - CO_FRAME_WORDS;
	for (unsigned int i = 0; i < CO_FRAME_WORDS; i++)
		frame[i] = NULL;
	frame[CO_FRAME_ARG] = c;
	frame[CO_FRAME_PC] = (void *)(uintptr_t)co_boot;
	c->sp = frame;
	c->fn = fn;
	c->arg = arg;
	c->ended = false;
#ifdef CO_TSAN
	c->fiber = __tsan_create_fiber(0);
#endif
}

/* From the loop: runs it until it yields or ends. */
static void resume(struct co_sched *s, struct co *c)
{
	assert(!s->current);
	s->current = c;
	enter_co(s, c);
	s->current = NULL;
	if (c->ended)
		co_recycle(s, c);
}

static void make_ready(struct co_sched *s, struct co *c)
{
	list_add_tail(&s->ready, &c->link);
	loop_task_post(s->loop, &s->task);
}

static void run_ready(void *opaque)
{
	struct co_sched *s = opaque;
	while (!list_empty(&s->ready)) {
		struct co *c = list_first(&s->ready, struct co, link);
		list_del(&c->link);
		resume(s, c);
	}
}

int co_spawn(struct co_sched *s, void (*fn)(void *arg), void *arg)
{
	struct co *c = co_get(s);
	if (!c)
		return -ENOMEM;
	prepare(c, fn, arg);
	s->alive++;
	if (s->current)
		make_ready(s, c);
	else
		resume(s, c);
	return 0;
}

struct co *co_self(const struct co_sched *s)
{
	return s->current;
}

void co_yield (struct co_sched *s)
{
	struct co *c = s->current;
	assert(c);
	leave_co(s, c);
}

void co_wake(struct co *c)
{
	struct co_sched *s = c->sched;
	if (s->current)
		make_ready(s, c);
	else
		resume(s, c);
}

/* ---- waiting for one another ---- */

void co_queue_init(struct co_queue *q)
{
	list_init(&q->waiting);
}

bool co_queue_empty(const struct co_queue *q)
{
	return list_empty(&q->waiting);
}

void co_queue_wait(struct co_sched *s, struct co_queue *q)
{
	list_add_tail(&q->waiting, &s->current->link);
	co_yield (s);
}

static void wake_first(struct co_queue *q)
{
	struct co *c = list_first(&q->waiting, struct co, link);
	list_del(&c->link);
	make_ready(c->sched, c);
}

void co_queue_wake_all(struct co_queue *q)
{
	while (!co_queue_empty(q))
		wake_first(q);
}

void co_mutex_init(struct co_mutex *m)
{
	m->locked = false;
	co_queue_init(&m->queue);
}

void co_mutex_lock(struct co_sched *s, struct co_mutex *m)
{
	if (!m->locked) {
		m->locked = true;
		return;
	}
	co_queue_wait(s, &m->queue); /* the unlocker leaves it locked for us */
}

void co_mutex_unlock(struct co_mutex *m)
{
	assert(m->locked);
	if (co_queue_empty(&m->queue))
		m->locked = false;
	else
		wake_first(&m->queue);
}

/* ---- the scheduler ---- */

int co_sched_create(struct loop *l, struct co_sched **out)
{
	struct co_sched *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->loop = l;
	list_init(&s->ready);
	list_init(&s->pool);
	s->task = (struct loop_task){ .fn = run_ready, .opaque = s };
	*out = s;
	return 0;
}

void co_sched_destroy(struct co_sched *s)
{
	if (!s)
		return;
	assert(!s->alive);
	loop_task_cancel(s->loop, &s->task);
	while (!list_empty(&s->pool)) {
		struct co *c = list_first(&s->pool, struct co, link);
		list_del(&c->link);
		stack_unmap(c);
	}
	free(s);
}
