package blocktree.testharness.posix;

import jnr.ffi.LibraryLoader;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import jnr.ffi.annotations.In;
import jnr.ffi.annotations.Out;
import jnr.ffi.types.off_t;
import jnr.ffi.types.size_t;
import jnr.ffi.types.ssize_t;
import org.jspecify.annotations.Nullable;

/** The C library's functions under their own names; strings are NUL-terminated byte arrays. Public for the class that jnr-ffi generates. */
public interface LibC {
    LibC INSTANCE = LibraryLoader.create(LibC.class).load("c");
    Runtime RUNTIME = Runtime.getRuntime(INSTANCE);

    int open(@In byte[] path, int flags, int mode);

    int close(int fd);

    @ssize_t
    long read(int fd, @Out byte[] buffer, @size_t long size);

    @ssize_t
    long pread(int fd, @Out byte[] buffer, @size_t long size, @off_t long offset);

    @ssize_t
    long write(int fd, @In byte[] buffer, @size_t long size);

    @ssize_t
    long pwrite(int fd, @In byte[] buffer, @size_t long size, @off_t long offset);

    @off_t
    long lseek(int fd, @off_t long offset, int whence);

    int truncate(@In byte[] path, @off_t long size);

    int ftruncate(int fd, @off_t long size);

    int fallocate(int fd, int mode, @off_t long offset, @off_t long size);

    int fsync(int fd);

    int fdatasync(int fd);

    @ssize_t
    long copy_file_range(int from, @In long[] fromOffset, int to, @In long[] toOffset, @size_t long size, int flags);

    Pointer mmap(
            @In @Nullable Pointer address, @size_t long size, int protection, int flags, int fd, @off_t long offset);

    int msync(@In Pointer address, @size_t long size, int flags);

    int munmap(@In Pointer address, @size_t long size);

    int mkdir(@In byte[] path, int mode);

    int rmdir(@In byte[] path);

    int unlink(@In byte[] path);

    int rename(@In byte[] from, @In byte[] to);

    int renameat2(int fromDirectory, @In byte[] from, int toDirectory, @In byte[] to, int flags);

    int linkat(int fromDirectory, @In byte[] from, int toDirectory, @In byte[] to, int flags);

    int symlink(@In byte[] target, @In byte[] path);

    @ssize_t
    long readlink(@In byte[] path, @Out byte[] buffer, @size_t long size);

    int mknod(@In byte[] path, int mode, long device);

    int statx(int directory, @In byte[] path, int flags, int mask, @Out byte[] buffer);

    int chmod(@In byte[] path, int mode);

    int fchmod(int fd, int mode);

    int lchown(@In byte[] path, int uid, int gid);

    int utimensat(int directory, @In byte[] path, @In long[] times, int flags);

    int faccessat(int directory, @In byte[] path, int mode, int flags);

    int lsetxattr(@In byte[] path, @In byte[] name, @In byte[] value, @size_t long size, int flags);

    @ssize_t
    long lgetxattr(@In byte[] path, @In byte[] name, @Out byte[] value, @size_t long size);

    @ssize_t
    long llistxattr(@In byte[] path, @Out byte[] list, @size_t long size);

    int lremovexattr(@In byte[] path, @In byte[] name);

    @ssize_t
    long getdents64(int fd, @Out byte[] buffer, @size_t long size);

    int setfsuid(int uid);

    int setfsgid(int gid);

    int umask(int mask);

    int flock(int fd, int operation);

    int kill(int pid, int signal);
}
