package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.program.Program;
import java.util.List;
import org.junit.jupiter.api.Test;

class Libfuse3RealProgramsTest extends RealProgramsTest {
    Libfuse3RealProgramsTest() {
        super("libfuse3", "--acl");
    }

    @Test
    void accessControlListsAreSetCopiedAndRestored() throws Exception {
        Program.require("setfacl", "getfacl", "rsync", "tar", "git");
        shell(directory, """
                mkdir -p team/deep; printf content > team/file; chmod 640 team/file; ln -s file team/link
                setfacl -R -m u:1234:rwX,g:4321:rX team; setfacl -R -d -m u:1234:rwX,o:- team
                printf new > team/deep/new; git init -q team/deep/repository
                mkdir there untarred; cp -a team copied; rsync -aA team/ there/; tar --acls -C team -cf all.tar .; tar --acls -C untarred -p -xf all.tar
                """);
        String lists = lists("team");
        assertTrue(lists.contains("# file: deep/new\n# owner: 0\n# group: 0\nuser::rw-\nuser:1234:rwx"), lists);
        assertTrue(lists.contains("default:user:1234:rwx"), lists);
        node.restart();
        for (String copy : List.of("team", "copied", "there", "untarred")) {
            assertEquals(lists, lists(copy), copy);
        }
        shell(directory, """
                (cd team && getfacl -n -R . > ../lists); setfacl -R -b -k team; chmod -R u=rwx,go= team
                """);
        assertTrue(!lists("team").contains("1234"), "removed");
        shell(directory, "cd team && setfacl --restore=../lists");
        assertEquals(lists, lists("team"));
    }

    private String lists(String name) {
        return run("find " + name + " ! -type l -printf '%P\\n' | sort | sed 's/^$/./' | (cd " + name
                + " && xargs getfacl -n)");
    }
}
