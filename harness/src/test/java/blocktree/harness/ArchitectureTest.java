package blocktree.harness;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The harness drives a node through its control protocol alone. */
@AnalyzeClasses(packages = "blocktree.harness", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesOnlyBtmsg = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages("blocktree.harness..", "blocktree.btmsg..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule knowsNoNetworkStoreOrMount = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("io.netty..", "org.rocksdb..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule seesNoGeneratedMessages = noClasses()
            .should()
            .dependOnClassesThat()
            .haveNameMatching("blocktree\\..*Proto(\\$.*)?")
            .allowEmptyShould(true);
}
