package blocktree.fuse;

/** The FUSE libraries that a mount can go through. */
public enum Library {
    /** libfuse 3, whose requests name inodes: kernel caches that are told of changes, a write-back cache, large requests. */
    LIBFUSE3("libfuse3.so.3", "libfuse3-3"),

    /** libfuse 2 through jnr-fuse, whose requests name paths. */
    LIBFUSE2("libfuse.so.2", "libfuse2");

    private final String fileName;
    private final String debianPackage;

    Library(String fileName, String debianPackage) {
        this.fileName = fileName;
        this.debianPackage = debianPackage;
    }

    /** As the loader knows it. */
    public String fileName() {
        return fileName;
    }

    String debianPackage() {
        return debianPackage;
    }
}
