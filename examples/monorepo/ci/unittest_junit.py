"""unittest_junit.py REPORT [DIRECTORY]: runs the tests that are found, and writes what became of them as JUnit's XML."""

import os
import sys
import unittest
from xml.etree import ElementTree


class Result(unittest.TextTestResult):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.suite = ElementTree.Element("testsuite", name="unittest")

    def case(self, test):
        place = f"{type(test).__module__}.{type(test).__qualname__}"
        return ElementTree.SubElement(self.suite, "testcase", name=test.id().rsplit(".", 1)[-1], classname=place)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.case(test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        ElementTree.SubElement(self.case(test), "failure", message=str(error[1]))

    def addError(self, test, error):
        super().addError(test, error)
        ElementTree.SubElement(self.case(test), "error", message=str(error[1]))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        ElementTree.SubElement(self.case(test), "skipped", message=reason)


report, directory = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "."
sys.path.insert(0, os.getcwd())
tests = unittest.defaultTestLoader.discover(directory)
result = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(tests)
ElementTree.ElementTree(result.suite).write(report, encoding="utf-8", xml_declaration=True)
sys.exit(not (result.wasSuccessful() and result.testsRun))
