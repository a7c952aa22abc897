package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.FileSystem;
import blocktree.tree.FileSystemException;
import blocktree.tree.Name;
import java.util.Collection;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.IntSupplier;
import java.util.function.LongConsumer;
import jnr.ffi.Pointer;
import org.jspecify.annotations.Nullable;

/** A {@link RequestThread} on libfuse 3. */
final class InodeRequestThread extends RequestThread {
    private static final int WRITE_FLAGS = 20;
    private static final int WRITE_CACHE = 1;

    private final NativeFuse3 fuse;
    private final InodeOperations operations;
    private final long session;
    private final long buffer;
    private final long scratch;
    private long dataSizeBytes;
    private long data;
    private long requestSizeBytes;

    /** Of the request under way, which libfuse may be told is another. */
    private int opcode;

    /** libfuse's request under way; 0 once it is answered. */
    private long handle;

    /** What every request is answered with, unless 0. */
    private int refusal;

    /** As it was when the request came. */
    private long nameChangeCount;

    /** What has to be complete before it is. */
    private @Nullable CompletableFuture<?> awaited;

    /** The request under way, when it has waited. */
    private @Nullable ParkedRequest resumed;

    InodeRequestThread(RequestLoop loop, String name, NativeFuse3 fuse, InodeOperations operations, long session) {
        super(loop, name);
        this.fuse = fuse;
        this.operations = operations;
        this.session = session;
        this.buffer = fuse.newBuffer();
        this.scratch = MEMORY.allocateMemory(RESULT_SIZE_BYTES_MAX, true);
    }

    static @Nullable InodeRequestThread current() {
        return Thread.currentThread() instanceof InodeRequestThread thread ? thread : null;
    }

    @Override
    boolean receive() {
        ParkedRequest next = operations.waiting().next();
        if (next != null) {
            resumed = next;
            requestSizeBytes = next.sizeBytes;
            opcode = next.opcode;
            cameNanos = next.cameNanos;
            reportedNanos = next.reported ? next.cameNanos : reportedNanos;
            abandonedNanos = next.abandoned ? next.cameNanos : abandonedNanos;
            return true;
        }
        while (true) {
            int size = fuse.functions.fuse_session_receive_buf(session, buffer);
            if (size != -Errno.EINTR) {
                requestSizeBytes = size;
                opcode = size > 0 ? super.opcode() : 0;
                return size > 0;
            }
        }
    }

    @Override
    void refuse(int errno) {
        refusal = errno;
        process();
        refusal = 0;
    }

    @Override
    int opcode() {
        return opcode;
    }

    @Override
    void process() {
        if (resumed == null) {
            MEMORY.putInt(request() + OPCODE, opcodeForLibrary(opcode));
            fuse.functions.fuse_session_process_buf(session, buffer);
            return;
        }
        try {
            InodeConnection.answer(resumed.handle);
        } finally {
            if (resumed != null) {
                MEMORY.freeMemory(resumed.memory);
                resumed = null;
            }
        }
    }

    /** libfuse answers what it does not know with ENOSYS, so it is given such requests as others whose body begins with the same fields. */
    private static int opcodeForLibrary(int opcode) {
        return switch (opcode) {
            case OPCODE_TMPFILE -> OPCODE_CREATE;
            case OPCODE_STATX -> OPCODE_GETATTR;
            default -> opcode;
        };
    }

    /** libfuse has taken the request and calls back, or did before the request waited. */
    void begin(long request) {
        handle = request;
        awaited = null;
        nameChangeCount = operations.cache().nameChangeCount();
        try {
            if (refusal == 0) {
                operations.answer(this);
            } else {
                reply(refusal, 0);
            }
        } finally {
            if (handle != 0) { // every request is answered once, or libfuse keeps it for ever
                reply(Errno.EIO, 0);
            }
        }
    }

    @Override
    void free() {
        fuse.freeBuffer(buffer);
        MEMORY.freeMemory(scratch);
        if (data != 0) {
            MEMORY.freeMemory(data);
        }
    }

    @Override
    long request() {
        ParkedRequest parked = resumed;
        return parked == null ? NativeFuse3.bufferMemory(buffer) : parked.memory;
    }

    @Override
    long requestSizeBytes() {
        return requestSizeBytes;
    }

    @Override
    long replyBody() {
        return scratch;
    }

    /** Memory for a result of {@code sizeBytes}, with anything in it. */
    long data(long sizeBytes) {
        if (sizeBytes > dataSizeBytes) {
            if (data != 0) {
                MEMORY.freeMemory(data);
            }
            data = MEMORY.allocateMemory(sizeBytes, false);
            dataSizeBytes = sizeBytes;
        }
        return data;
    }

    @Override
    void reply(int errno, int bodySizeBytes) {
        if (errno != 0 || bodySizeBytes == 0) {
            send(request -> fuse.functions.fuse_reply_err(request, errno));
        } else {
            replyFrom(scratch, bodySizeBytes);
        }
    }

    @Override
    void reply(byte[] body) {
        long memory = data(body.length);
        MEMORY.putByteArray(memory, body, 0, body.length);
        replyFrom(memory, body.length);
    }

    void replyFrom(long memory, long sizeBytes) {
        replyFrom(memory, sizeBytes, () -> {}, () -> {});
    }

    /**
     * @param ifUnwanted runs when the kernel does not want the answer any more, and has taken no reference that is in it
     * @param afterwards runs when it has the answer
     */
    void replyFrom(long memory, long sizeBytes, Runnable ifUnwanted, Runnable afterwards) {
        if (awaited == null) {
            replyFrom(fuse, take(), memory, sizeBytes, ifUnwanted, afterwards);
            return;
        }
        long copy = MEMORY.allocateMemory(Math.max(1, sizeBytes), false);
        MEMORY.copyMemory(memory, copy, sizeBytes);
        send(request -> {
            replyFrom(fuse, request, copy, sizeBytes, ifUnwanted, afterwards);
            MEMORY.freeMemory(copy);
        });
    }

    private static void replyFrom(
            NativeFuse3 fuse, long request, long memory, long sizeBytes, Runnable ifUnwanted, Runnable afterwards) {
        if (fuse.functions.fuse_reply_buf(request, memory, sizeBytes) == 0) {
            afterwards.run();
        } else {
            ifUnwanted.run();
        }
    }

    /** Now, or once what is awaited is complete. */
    private void send(LongConsumer reply) {
        long request = take();
        if (awaited == null) {
            reply.accept(request);
        } else {
            operations.deferredReplies().answerAfter(awaited, request, reply);
        }
    }

    /** The answer to the request under way has to wait. */
    void answerAfter(CompletableFuture<?> event) {
        awaited = awaited == null ? event : CompletableFuture.allOf(awaited, event);
    }

    /** Answers with what {@link #replyBody} holds when {@code work} is done, or with the error that it fails with; until then the request waits without a thread. */
    void replyAfter(CompletableFuture<Void> work, int bodySizeBytes) throws FileSystemException {
        if (work.isDone()) {
            FileSystem.await(work);
            reply(0, bodySizeBytes);
            return;
        }
        byte[] body = new byte[bodySizeBytes];
        MEMORY.getByteArray(scratch, body, 0, bodySizeBytes);
        replyAfter(work.thenApply(done -> body));
    }

    /** Answers with the body that {@code work} comes to, or with the error that it fails with; until then the request waits without a thread. */
    void replyAfter(CompletableFuture<byte[]> work) {
        Operation waiting = Objects.requireNonNull(operation);
        long request = take();
        left = true;
        CompletableFuture<?> event = awaited == null ? work : CompletableFuture.allOf(awaited, work);
        WaitingRequest unanswered =
                noted(new WaitingRequest(cameNanos, waiting, errno -> fuse.functions.fuse_reply_err(request, errno)));
        operations.waiting().answerAfter(event, unanswered, failure -> {
            int errno = failure == null ? 0 : MountOperations.errno(waiting, failure);
            reply(fuse, request, errno, errno == 0 ? work.join() : new byte[0]);
            return errno != 0;
        });
    }

    private static void reply(NativeFuse3 fuse, long request, int errno, byte[] body) {
        if (errno != 0 || body.length == 0) {
            fuse.functions.fuse_reply_err(request, errno);
            return;
        }
        long memory = MEMORY.allocateMemory(body.length, false);
        MEMORY.putByteArray(memory, body, 0, body.length);
        fuse.functions.fuse_reply_buf(request, memory, body.length);
        MEMORY.freeMemory(memory);
    }

    /**
     * Leaves the request, of which nothing has been done yet, until {@code event} is complete; then a thread of the mount handles it as if it had just come.
     *
     * @param recalledInodes what the event is for, if it is to be handled without recalling these again
     */
    void park(Operation waiting, CompletableFuture<?> event, Collection<Long> recalledInodes) {
        Set<Long> recalled = new HashSet<>(recalledInodes);
        long memory;
        if (resumed == null) {
            memory = MEMORY.allocateMemory(requestSizeBytes, false);
            MEMORY.copyMemory(request(), memory, requestSizeBytes);
        } else {
            memory = resumed.memory;
            recalled.addAll(resumed.recalled);
            resumed = null;
        }
        operation = waiting;
        left = true;
        ParkedRequest parked =
                new ParkedRequest(fuse, take(), opcode, memory, requestSizeBytes, recalled, cameNanos, waiting);
        operations.waiting().park(noted(parked), event, loop::resume);
    }

    /** With what the watch has done about the request while it was this thread's. */
    private <R extends WaitingRequest> R noted(R waiting) {
        waiting.reported = reportedNanos == cameNanos;
        waiting.abandoned = abandonedNanos == cameNanos;
        return waiting;
    }

    /** Whether the request has waited for what other mounts' kernels had kept back of the file when it came. */
    boolean hasRecalled(long inode) {
        return resumed != null && resumed.recalled.contains(inode);
    }

    /** Answers later, from another thread, with an error number or 0; the request is no longer this thread's. */
    void answerErrorAfter(CompletableFuture<?> event, IntSupplier errno) {
        answerAfter(event);
        send(request -> fuse.functions.fuse_reply_err(request, errno.getAsInt()));
    }

    /**
     * Has {@code callback} called with {@code data} when the program that waits for the request is interrupted, at once if it has been. Until this has returned, nobody may answer the request: libfuse
     * uses it after the call.
     */
    void onInterrupt(Pointer callback, long data) {
        fuse.functions.fuse_req_interrupt_func(handle, callback.address(), data);
    }

    /** Ends a request that has no answer. */
    void replyNone() {
        fuse.functions.fuse_reply_none(take());
    }

    /** To be run when the kernel has been given this entry of the directory that the request names. */
    Runnable given(Name name) {
        return given(node(), name);
    }

    Runnable given(long node, Name name) {
        long before = nameChangeCount;
        return () -> operations.cache().given(node, name, before);
    }

    KernelCache cache() {
        return operations.cache();
    }

    /** Whether the kernel writes what it has kept back, and not a program. */
    boolean isPageWriteBack() {
        return opcode() == OPCODE_WRITE && (bodyInt(WRITE_FLAGS) & WRITE_CACHE) != 0;
    }

    boolean isUnanswered() {
        return handle != 0;
    }

    /** The request, which is no longer this thread's to answer. */
    private long take() {
        long taken = handle;
        if (taken == 0) {
            throw new IllegalStateException("the request is answered already"); // libfuse would take the address
        }
        handle = 0;
        return taken;
    }
}
