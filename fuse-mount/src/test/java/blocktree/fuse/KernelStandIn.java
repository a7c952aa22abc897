package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.FileSystem;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import jnr.ffi.Pointer;

/** The kernel's end of a mount's session, on a socket in the place of /dev/fuse: it can be any version with any features, and asks what it likes. */
final class KernelStandIn implements Connection, AutoCloseable {
    private static final int MEMORY_SIZE_BYTES = 1 << 18;
    private static final int MAJOR = 7;

    /** As a kernel before 7.36 sends them, and after. */
    private static final int INIT_SIZE_BYTES = 16;

    private static final int INIT_EXT_SIZE_BYTES = 64;

    /** FUSE_NOTIFY_INVAL_ENTRY, and where the name is in it: behind the header, the directory, the length and the flags. */
    private static final int NOTICE_OF_NAME = 3;

    private static final int NOTICE_NAME = RequestThread.REPLY_HEADER_SIZE_BYTES + 16;

    /** An answer: its error number, positive or 0, and what comes behind its header. */
    record Answer(int errno, ByteBuffer body) {}

    private final NativeFuse3 fuse = FuseCheck.requireFitting();
    private final InodeOperations operations;
    private final NativeFuse3.RequestCallback callback = KernelStandIn::answer;
    private final Pointer closure = fuse.closure(NativeFuse3.RequestCallback.class, callback);
    private final long session;
    private final int near;
    private final long memory = MEMORY.allocateMemory(MEMORY_SIZE_BYTES, true);
    private final RequestLoop loop;
    private final CountDownLatch ended = new CountDownLatch(1);
    private long lastUnique = 1;

    KernelStandIn(FileSystem fileSystem, MountOptions options) {
        operations = new InodeOperations(fuse, fileSystem, options);
        loop = new RequestLoop(this, options, ended::countDown);
        session = fuse.newSession("fsname=blocktree", closure);
        int[] sockets = fuse.socketPair();
        near = sockets[0];
        if (fuse.mount(session, "/dev/fd/" + sockets[1]) != 0) {
            throw new IllegalStateException("no session on a socket");
        }
    }

    private static void answer(long request) {
        InodeRequestThread thread = InodeRequestThread.current();
        if (thread != null) {
            thread.begin(request);
        }
    }

    /**
     * Negotiates as a kernel of version 7.{@code minor} that offers {@code features}, and begins to answer.
     *
     * @return the features that the mount takes
     * @throws IllegalStateException when the mount refuses
     */
    long start(int minor, long features, MountOptions options) {
        boolean extended = minor >= 36;
        ByteBuffer body = body(extended ? INIT_EXT_SIZE_BYTES : INIT_SIZE_BYTES);
        body.putInt(MAJOR).putInt(minor).putInt(1 << 17).putInt((int) features);
        if (extended) {
            body.putInt((int) (features >>> 32));
        }
        send(RequestThread.OPCODE_INIT, 0, body);
        Negotiation negotiation = new Negotiation(fuse, session, fuse.functions.fuse_session_fd(session));
        negotiation.run(options);
        Answer answer = receive();
        operations.start(
                session, negotiation.has(Negotiation.WRITEBACK_CACHE), negotiation.has(Negotiation.ACCESS_LISTS));
        loop.initialised();
        loop.start();
        return Integer.toUnsignedLong(answer.body.getInt(12)) | Integer.toUnsignedLong(answer.body.getInt(32)) << 32;
    }

    static ByteBuffer body(int sizeBytes) {
        return ByteBuffer.allocate(sizeBytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** A body that ends in names, each with a NUL behind it. */
    static ByteBuffer body(ByteBuffer start, String... names) {
        byte[] text = (String.join("\0", names) + "\0").getBytes(StandardCharsets.UTF_8);
        return body(start.capacity() + text.length).put(start.array()).put(text);
    }

    synchronized Answer ask(int opcode, long node, ByteBuffer body) {
        send(opcode, node, body);
        return receive();
    }

    /** Sends what has no answer. */
    synchronized void tell(int opcode, long node, ByteBuffer body) {
        send(opcode, node, body);
    }

    private void send(int opcode, long node, ByteBuffer body) {
        byte[] bytes = body.array();
        int size = RequestThread.HEADER_SIZE_BYTES + bytes.length;
        MEMORY.setMemory(memory, RequestThread.HEADER_SIZE_BYTES, (byte) 0);
        MEMORY.putInt(memory, size);
        MEMORY.putInt(memory + RequestThread.OPCODE, opcode);
        MEMORY.putLong(memory + RequestThread.UNIQUE, ++lastUnique);
        MEMORY.putLong(memory + 16, node);
        MEMORY.putByteArray(memory + RequestThread.HEADER_SIZE_BYTES, bytes, 0, bytes.length);
        if (fuse.system.write(near, memory, size) != size) {
            throw new IllegalStateException("the session takes no request");
        }
    }

    private Answer receive() {
        long size = fuse.system.read(near, memory, MEMORY_SIZE_BYTES);
        if (size < RequestThread.REPLY_HEADER_SIZE_BYTES
                || MEMORY.getInt(memory) != size
                || MEMORY.getLong(memory + RequestThread.UNIQUE) != lastUnique) {
            throw new IllegalStateException("no answer, or a wrong one, of " + size + " bytes");
        }
        byte[] bytes = new byte[(int) size - RequestThread.REPLY_HEADER_SIZE_BYTES];
        MEMORY.getByteArray(memory + RequestThread.REPLY_HEADER_SIZE_BYTES, bytes, 0, bytes.length);
        return new Answer(-MEMORY.getInt(memory + 4), ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
    }

    /** Waits for a notice that a name is to be dropped, and returns the name; other notices are passed over. */
    synchronized String droppedName() {
        do {
            long size = fuse.system.read(near, memory, MEMORY_SIZE_BYTES);
            if (size < RequestThread.REPLY_HEADER_SIZE_BYTES || MEMORY.getLong(memory + RequestThread.UNIQUE) != 0) {
                throw new IllegalStateException("no notice, but " + size + " bytes");
            }
        } while (MEMORY.getInt(memory + 4) != NOTICE_OF_NAME);
        byte[] name = new byte[MEMORY.getInt(memory + NOTICE_NAME - 8)];
        MEMORY.getByteArray(memory + NOTICE_NAME, name, 0, name.length);
        return new String(name, StandardCharsets.UTF_8);
    }

    @Override
    public boolean open(MountPoint mountPoint, MountOptions options) {
        throw new UnsupportedOperationException();
    }

    @Override
    public RequestThread newThread(RequestLoop requestLoop, String name) {
        return new InodeRequestThread(requestLoop, name, fuse, operations, session);
    }

    @Override
    public void refuse(long unique, int errno) {
        throw new UnsupportedOperationException();
    }

    @Override
    public InodeOperations operations() {
        return operations;
    }

    @Override
    public void writeBack(Path mountPoint) {
        throw new UnsupportedOperationException();
    }

    /** The kernel hangs up. */
    @Override
    public void close() {
        fuse.system.close(near);
        if (loop.threadCount() > 0) {
            try {
                if (!ended.await(20, TimeUnit.SECONDS)) {
                    throw new IllegalStateException("threads are left");
                }
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            operations.cache().stop();
            operations.lockRequests().end();
            operations.waiting().end();
            operations.ended();
        }
        fuse.functions.fuse_session_destroy(session);
        MEMORY.freeMemory(memory);
        closure.address(); // reachable until here
    }
}
