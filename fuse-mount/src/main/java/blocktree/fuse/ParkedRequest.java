package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import java.util.Set;

/** A request that is handled from the start when it has waited, with a copy of what the kernel sent. */
final class ParkedRequest extends WaitingRequest {
    /** libfuse's. */
    final long handle;

    final int opcode;

    /** Where the copy is, which is freed with it. */
    final long memory;

    final long sizeBytes;

    /** The files of which other mounts' kernels have handed over what they had kept back since it came. */
    final Set<Long> recalled;

    ParkedRequest(
            NativeFuse3 fuse,
            long handle,
            int opcode,
            long memory,
            long sizeBytes,
            Set<Long> recalled,
            long cameNanos,
            Operation operation) {
        super(cameNanos, operation, errno -> {
            fuse.functions.fuse_reply_err(handle, errno);
            MEMORY.freeMemory(memory);
        });
        this.handle = handle;
        this.opcode = opcode;
        this.memory = memory;
        this.sizeBytes = sizeBytes;
        this.recalled = recalled;
    }
}
