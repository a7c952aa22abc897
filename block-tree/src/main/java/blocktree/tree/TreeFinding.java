package blocktree.tree;

/**
 * One thing that the check of a tree found wrong.
 *
 * @param severity ERROR: something cannot be reached or read; WARNING: wrong, but nothing is lost
 * @param code stable, for programs: see {@link TreeCheck}
 * @param block the block concerned, 64 hexadecimal digits
 * @param detail for people; holds no names of files
 */
public record TreeFinding(Severity severity, String code, String block, String detail) {

    /** How bad it is. */
    public enum Severity {
        ERROR,
        WARNING
    }
}
