package blocktree.node;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The node wires the modules together through their own types, and is not driven by what tests it. */
@AnalyzeClasses(packages = "blocktree.node", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesNoTestModule = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("blocktree.harness..", "blocktree.testharness..", "blocktree.bench..")
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule leavesLibrariesToTheirOwners = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("org.rocksdb..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule seesNoGeneratedMessages = noClasses()
            .should()
            .dependOnClassesThat()
            .haveNameMatching("blocktree\\..*Proto(\\$.*)?")
            .allowEmptyShould(true);
}
