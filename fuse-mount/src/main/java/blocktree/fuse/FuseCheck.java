package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import java.util.List;
import jnr.ffi.Pointer;

/**
 * Tries, without a mount, that the running libfuse 3 takes and answers requests as this mount expects: a session on a socket in the place of /dev/fuse is sent one request of each kind, each of which has to come
 * back through the callback and leave again with what it answered.
 */
final class FuseCheck {
    private static final int MEMORY_SIZE_BYTES = 1 << 16;
    private static final int BODY_SIZE_BYTES = 256;
    private static final int ANSWER = 85;
    private static final int KERNEL_MAJOR = 7;
    private static final int KERNEL_MINOR = 31;

    /** Every kind of request that has an answer and is not left to the library. */
    private static final List<Integer> OPCODES = List.of(
            1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 27, 28, 29, 30, 31, 32, 33,
            35, 43, 44, 45, 46, 47);

    private FuseCheck() {}

    private static final class Holder {
        static final NativeFuse3 FITTING = check(NativeFuse3.load());
    }

    /** @throws LinkageError when the library is not there, or does not fit */
    static NativeFuse3 requireFitting() {
        try {
            return Holder.FITTING;
        } catch (ExceptionInInitializerError e) {
            throw new UnsatisfiedLinkError(String.valueOf(e.getCause()));
        }
    }

    private static NativeFuse3 check(NativeFuse3 fuse) {
        NativeFuse3.RequestCallback callback = request -> fuse.functions.fuse_reply_err(request, ANSWER);
        Pointer closure = fuse.closure(NativeFuse3.RequestCallback.class, callback);
        long session = fuse.newSession("fsname=blocktree", closure);
        if (session == 0) {
            throw unfitting(fuse, "it makes no session");
        }
        long memory = MEMORY.allocateMemory(MEMORY_SIZE_BYTES, true);
        long buffer = MEMORY.allocateMemory(NativeFuse3.BUFFER_SIZE_BYTES, true);
        int near = -1;
        try {
            int[] sockets = fuse.socketPair();
            near = sockets[0];
            if (fuse.mount(session, "/dev/fd/" + sockets[1]) != 0) {
                fuse.system.close(sockets[1]);
                throw unfitting(fuse, "it takes no descriptor");
            }
            MEMORY.putInt(memory + RequestThread.HEADER_SIZE_BYTES, KERNEL_MAJOR);
            MEMORY.putInt(memory + RequestThread.HEADER_SIZE_BYTES + 4, KERNEL_MINOR);
            expect(fuse, session, buffer, memory, near, RequestThread.OPCODE_INIT, 0);
            for (int opcode : OPCODES) {
                clear(memory);
                expect(fuse, session, buffer, memory, near, opcode, -ANSWER);
            }
            clear(memory);
            MEMORY.putInt(memory + RequestThread.HEADER_SIZE_BYTES + 40, 1); // FUSE_LK_FLOCK
            expect(fuse, session, buffer, memory, near, RequestThread.OPCODE_SETLK, -ANSWER);
        } finally {
            fuse.functions.fuse_session_destroy(session);
            if (near >= 0) {
                fuse.system.close(near);
            }
            MEMORY.freeMemory(buffer);
            MEMORY.freeMemory(memory);
            closure.address(); // reachable until here
        }
        return fuse;
    }

    /** Zeroes are a body for every kind of request, with empty names. */
    private static void clear(long memory) {
        MEMORY.setMemory(memory, RequestThread.HEADER_SIZE_BYTES + BODY_SIZE_BYTES, (byte) 0);
    }

    private static void expect(
            NativeFuse3 fuse, long session, long buffer, long memory, int near, int opcode, int error) {
        int size = RequestThread.HEADER_SIZE_BYTES + BODY_SIZE_BYTES;
        MEMORY.putInt(memory, size);
        MEMORY.putInt(memory + 4, opcode);
        MEMORY.putLong(memory + RequestThread.UNIQUE, opcode);
        MEMORY.putLong(memory + 16, 1);
        NativeFuse3.setBuffer(buffer, memory, size);
        fuse.functions.fuse_session_process_buf(session, buffer);
        long answer = memory + MEMORY_SIZE_BYTES / 2;
        long read = fuse.system.read(near, answer, MEMORY_SIZE_BYTES / 2);
        if (read < RequestThread.REPLY_HEADER_SIZE_BYTES
                || MEMORY.getInt(answer + 4) != error
                || MEMORY.getLong(answer + RequestThread.UNIQUE) != opcode) {
            throw unfitting(fuse, "request %d is answered with %d".formatted(opcode, MEMORY.getInt(answer + 4)));
        }
    }

    private static LinkageError unfitting(NativeFuse3 fuse, String what) {
        return new UnsatisfiedLinkError(
                "libfuse %s does not fit: %s".formatted(fuse.functions.fuse_pkgversion(), what));
    }
}
